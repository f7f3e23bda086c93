"""Reads a file line by line with offsets, in memory bounded by the longest line that is allowed.

It only reads forward, so that it also works on what a decompressor yields.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from lookalike_common.errors import InvalidContentError, LimitExceededError, LookalikeError

_BUFFER_BYTES = 256 << 10
_UTF8_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """How large records may be, and how many a file may have."""

    bytes: int = 16 << 20
    columns: int = 4096
    count: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line, its line break included."""

    number: int
    """From 1."""
    offset: int
    length: int
    data: bytes
    """Empty where the line is longer than allowed."""

    @property
    def blank(self) -> bool:
        """Whether there is nothing in it."""
        return not self.data.strip() and len(self.data) == self.length


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file by its bytes, or why it is none."""

    line: int
    """Where it begins, from 1."""
    offset: int
    length: int
    data: bytes
    """Empty where there is a problem."""
    problem: LookalikeError | None = None


def read_lines(file: BinaryIO, max_bytes: int) -> Iterator[Line]:
    """Yield a file's lines; a byte order mark belongs to none. The file may end up closed.

    Raises InvalidContentError for UTF-16.
    """
    reader: io.BufferedReader = io.BufferedReader(cast("io.RawIOBase", file), _BUFFER_BYTES)
    number, offset = 1, _skip_mark(reader)
    while data := reader.readline(max_bytes + 1):
        length = len(data)
        if length > max_bytes and not data.endswith(b"\n"):
            data = b""
            length += _skip_line(reader)
        elif length > max_bytes:
            data = b""
        yield Line(number, offset, length, data)
        number, offset = number + 1, offset + length


def join(lines: list[Line], max_bytes: int) -> Record:
    """Make one record of its lines; a problem where they are too long together."""
    first, length = lines[0], sum(line.length for line in lines)
    if length > max_bytes:
        error = LimitExceededError(
            f"the record has {length} bytes; at most {max_bytes} are allowed"
        )
        return Record(first.number, first.offset, length, b"", error)
    data = first.data if len(lines) == 1 else b"".join(line.data for line in lines)
    return Record(first.number, first.offset, length, data)


def spoiled(lines: list[Line], error: LookalikeError) -> Record:
    """Make a record of lines that are none."""
    first, length = lines[0], sum(line.length for line in lines)
    return Record(first.number, first.offset, length, b"", error)


def _skip_mark(reader: io.BufferedReader) -> int:
    start = reader.peek(3)[:3]
    if start.startswith(_OTHER_BOMS):
        raise InvalidContentError("the file is UTF-16; only UTF-8 is read")
    return len(reader.read(3)) if start == _UTF8_BOM else 0


def _skip_line(reader: io.BufferedReader) -> int:
    skipped = 0
    while piece := reader.readline(_BUFFER_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
