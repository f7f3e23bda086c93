"""Nucleotide sequences as files have them: bare letters, a FASTA record, a FASTQ record.

They are read and cut piece by piece, so that a chromosome is never held as a whole unless it is
wanted as a whole.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lookalike_common.errors import InvalidContentError

_READ_BYTES = 1 << 16
_LETTERS = b"ACGTURYSWKMBDHVN-."
_KNOWN = b"ACGTU"
_BLANKS = b" \t\r\n\v\f"
_COMPLEMENT = bytes.maketrans(b"ACGTURYSWKMBDHVN", b"TGCAAYRSWMKVHDBN")
_MIN_KNOWN = 0.5
_FOREIGN = re.compile(rb"[^ACGTURYSWKMBDHVN.-]")


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """One record: what it is called, and its bases, in upper case and in pieces."""

    name: str
    """The first word of its header; empty where there is none."""
    pieces: Iterator[bytes]
    """Reading them raises InvalidContentError for what is no IUPAC letter of a base."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a record."""

    start: int
    """Its first base, from 0."""
    bases: bytes

    @property
    def end(self) -> int:
        """One past its last base."""
        return self.start + len(self.bases)

    @property
    def known(self) -> bool:
        """Whether at least half of its bases are known: the rest are gaps of an assembly."""
        unknown = len(self.bases.translate(None, _KNOWN))
        return unknown <= len(self.bases) * _MIN_KNOWN


def read_record(file: BinaryIO) -> SequenceRecord:
    """Read the one record that a file holds."""
    line = _first_line(file)
    if line.startswith(b">"):
        _skip_line(file, line)
        return SequenceRecord(_name(line), _bases(_read(file)))
    if line.startswith(b"@"):
        _skip_line(file, line)
        return SequenceRecord(_name(line), _bases(_before_qualities(file)))
    return SequenceRecord("", _bases(_chain(line, file)))


def cut_windows(pieces: Iterable[bytes], length: int, step: int) -> Iterator[Window]:
    """Yield stretches of `length` bases, `step` apart; the last one ends where the record ends.

    A shorter record is one window; with the length 0 every record is.
    """
    buffer, first, start, end = bytearray(), 0, 0, 0
    for piece in pieces:
        buffer += piece
        while length and first + len(buffer) >= start + length:
            yield Window(start, bytes(buffer[start - first : start - first + length]))
            end, start = start + length, start + step
        if length:
            needed = min(start, first + len(buffer) - length)
            if needed > first:
                del buffer[: needed - first]
                first = needed
    total = first + len(buffer)
    if total > end:
        start = max(first, total - length) if length else first
        yield Window(start, bytes(buffer[start - first :]))


def reverse_complement(bases: bytes) -> bytes:
    """Return the other strand, read in its own direction; ambiguous letters too."""
    return bases.translate(_COMPLEMENT)[::-1]


def canonical_strand(bases: bytes) -> bytes:
    """Return the strand that is the earlier of the two: the same one for both."""
    return min(bases, reverse_complement(bases))


def _first_line(file: BinaryIO) -> bytes:
    """Return the beginning of the first line that is not blank; nothing at the end."""
    while line := file.readline(_READ_BYTES):
        if line.strip():
            return line.lstrip()
    return b""


def _skip_line(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(_READ_BYTES)


def _name(header: bytes) -> str:
    words = header[1:].split(maxsplit=1)
    return words[0].decode(errors="replace") if words else ""


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_READ_BYTES):
        yield piece


def _chain(line: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield line
    yield from _read(file)


def _before_qualities(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a FASTQ record that are bases."""
    at_start = True
    while line := file.readline(_READ_BYTES):
        if at_start and line.startswith(b"+"):
            return
        at_start = line.endswith(b"\n")
        yield line


def _bases(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        bases = piece.translate(None, _BLANKS).upper()
        if bases.translate(None, _LETTERS):
            raise _foreign(bases)
        yield bases


def _foreign(bases: bytes) -> InvalidContentError:
    found = _FOREIGN.search(bases)
    letter = chr(found[0][0]) if found else "?"
    if letter == ">":
        return InvalidContentError("there are several records; each is an item of its own")
    return InvalidContentError(f"the sequence has {letter!r}, which is no IUPAC letter of a base")
