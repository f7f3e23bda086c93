"""Reads the headers of a tar archive, one after the other, from a stream that is read forwards.

The standard library's tarfile keeps every header in memory and follows links inside of the
archive. This reader keeps nothing, takes regular files only, and says of every other member why it
is not read. Long names are understood as GNU tar (L) and POSIX pax (x, g) write them; files with
holes (S, GNU.sparse) are refused.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsafeArchiveError,
    UnsupportedMediaError,
)
from lookalike_ingest.sources.member_names import name_problem
from lookalike_ingest.sources.zip_directory import ArchiveLimits

BLOCK = 512
_MAGIC = b"ustar"
_MAGIC_OFFSET = 257
_MAX_EXTENSION = 1 << 20
_CHUNK = 1 << 20
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_FOLDER = b"5"
_FILES = frozenset({b"0", b"\0", b"7"})
_LINKS = frozenset({b"1", b"2"})
_WITHOUT_BYTES = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
"""Links, devices, folders, pipes: whatever size their header says."""
_HAS_MORE, _MORE_HAS_MORE = 482, 504
"""Where a header of a file with holes, and the blocks behind it, say that one more follows."""
_SPARSE = "GNU.sparse."


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member that is no folder; its bytes are next in the stream."""

    name: str
    offset: int
    """Of its bytes, in the stream."""
    size: int
    problem: LookalikeError | None
    """Why it must not be read."""


@dataclass(slots=True)
class _Extensions:
    """What headers of their own say about the header that follows."""

    name: str = ""
    records: dict[str, str] = field(default_factory=dict)


def is_tar(prefix: bytes) -> bool:
    """Tell by its first 512 bytes whether something is a tar archive."""
    return prefix[_MAGIC_OFFSET : _MAGIC_OFFSET + len(_MAGIC)] == _MAGIC


class TarReader:
    """Reads an archive; between two members, any of the first one's bytes may be read."""

    def __init__(self, stream: BinaryIO, limits: ArchiveLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._position = 0
        self._member_end = 0
        self._size = None
        if stream.seekable():
            self._size = stream.seek(0, os.SEEK_END)
            stream.seek(0)

    def members(self) -> Iterator[TarMember]:
        """Yield the members in their order.

        Raises InvalidContentError where the archive is damaged or truncated, LimitExceededError
        where it holds more than allowed; members before that place were yielded.
        """
        total, count, shared = 0, 0, dict[str, str]()
        while (header := self._next_header(shared)) is not None:
            member, size = header
            total, count = total + size, count + 1
            if count > self._limits.members:
                raise LimitExceededError(
                    f"the archive has more than {self._limits.members} members"
                )
            if total > self._limits.total_bytes:
                raise LimitExceededError(
                    f"the archive unpacks to more than {self._limits.total_bytes} bytes"
                )
            self._member_end = self._position + size
            if member is not None:
                yield member
            self._skip_to(self._member_end + -size % BLOCK)

    def read(self, size: int) -> bytes:
        """Return the next bytes of the member that was yielded last, none at its end."""
        data = self._stream.read(min(size, self._member_end - self._position))
        self._position += len(data)
        return data

    def _next_header(self, shared: dict[str, str]) -> tuple[TarMember | None, int] | None:
        """Return the next member (None for a folder) and its size, or None at the end."""
        extensions = _Extensions(records=dict(shared))
        extended = False
        while (block := self._read_block(extended)) is not None:
            info = _parse(block)
            if info.type in {_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL}:
                extended = True
                self._extend(info, extensions, shared)
                continue
            self._skip_sparse_blocks(info, block)
            return self._to_member(info, extensions)
        return None

    def _read_block(self, extended: bool) -> bytes | None:
        """Return the next header, or None where blocks of zeros, or nothing, end the archive."""
        block = self._stream.read(BLOCK)
        self._position += len(block)
        if (block and len(block) < BLOCK) or (extended and not block.strip(b"\0")):
            raise _truncated()
        return block if block.strip(b"\0") else None

    def _skip_sparse_blocks(self, info: tarfile.TarInfo, block: bytes) -> None:
        more = info.type == tarfile.GNUTYPE_SPARSE and block[_HAS_MORE]
        while more:
            block = self._stream.read(BLOCK)
            self._position += len(block)
            if len(block) < BLOCK:
                raise _truncated()
            more = block[_MORE_HAS_MORE]

    def _extend(
        self, info: tarfile.TarInfo, extensions: _Extensions, shared: dict[str, str]
    ) -> None:
        if info.size > _MAX_EXTENSION:
            raise UnsafeArchiveError("a header of the tar archive is larger than a mebibyte")
        length = info.size + -info.size % BLOCK
        data = self._stream.read(length)
        self._position += len(data)
        if len(data) < length:
            raise _truncated()
        data = data[: info.size]
        match info.type:
            case b"L":
                extensions.name = data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
            case b"x":
                extensions.records.update(_parse_pax(data))
            case b"g":
                shared.update(_parse_pax(data))
                extensions.records = {**shared, **extensions.records}

    def _to_member(
        self, info: tarfile.TarInfo, extensions: _Extensions
    ) -> tuple[TarMember | None, int]:
        records = extensions.records
        name = records.get("path") or extensions.name or info.name
        name = name.removeprefix("./")
        size = 0 if info.type in _WITHOUT_BYTES else info.size
        if info.type in _FILES and "size" in records:
            size = _number(records["size"])
        if info.type == _FOLDER or (info.type in _FILES and name.endswith("/")):
            return None, size
        problem = _refusal(info.type, records) or name_problem(name)
        most = self._limits.bytes_of(name)
        if problem is None and size > most:
            problem = LimitExceededError(f"this member has {size} bytes; {most} are allowed")
        return TarMember(name, self._position, size, problem), size

    def _skip_to(self, position: int) -> None:
        if self._size is not None:
            if position > self._size:
                raise _truncated()
            self._position = self._stream.seek(position)
        while self._position < position:
            piece = self._stream.read(min(_CHUNK, position - self._position))
            if not piece:
                raise _truncated()
            self._position += len(piece)


def _truncated() -> InvalidContentError:
    return InvalidContentError("the tar archive is truncated")


def _parse(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError as error:
        raise InvalidContentError("the tar archive is damaged: a header cannot be read") from error
    if info.size < 0:
        raise InvalidContentError("the tar archive is damaged: a size is negative")
    return info


def _parse_pax(data: bytes) -> dict[str, str]:
    """Read `length key=value` lines, whose lengths count bytes and themselves."""
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = _number(digits.decode("ascii", "replace"))
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(data):
            raise InvalidContentError("the tar archive is damaged: an extended header is none")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "backslashreplace")
        data = data[length:]
    return records


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidContentError("the tar archive is damaged: a size is no number")
    return int(text)


def _refusal(kind: bytes, records: dict[str, str]) -> LookalikeError | None:
    if kind in _LINKS:
        return UnsafeArchiveError("this member is a link")
    if kind == tarfile.GNUTYPE_SPARSE or any(key.startswith(_SPARSE) for key in records):
        return UnsupportedMediaError("this member is a file with holes, which is not read here")
    if kind not in _FILES:
        return UnsafeArchiveError("this member is no file")
    return None
