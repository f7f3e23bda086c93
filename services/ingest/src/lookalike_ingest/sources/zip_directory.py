"""Reads the directory of a zip archive, entry by entry, and refuses what archives are abused for.

The standard library's zipfile keeps every entry in memory and does not notice entries that overlap
(the trick by which a small archive unpacks to petabytes). This reader keeps sixteen bytes an entry.
"""

import os
import stat
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsafeArchiveError,
    UnsupportedMediaError,
)
from lookalike_ingest.media_types import STREAMED, claimed_modality
from lookalike_ingest.sources.member_names import name_problem

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""How a zip archive begins, with entries and without."""
STORED = 0
DEFLATED = 8

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL_HEADER_SIZE = 30
_MAX_COMMENT = 0xFFFF
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_FIELD = 1
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNIX = 3


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold."""

    members: int = 100_000
    member_bytes: int = 32 << 20
    """Of one member, unpacked."""
    total_bytes: int = 64 << 30
    """Of all members together, unpacked."""
    ratio: int = 200
    """How many times larger than packed a member may be, once it is larger than a mebibyte."""
    stream_bytes: int = 32 << 20
    """Of one member whose name says that it is a sound or a video, which need no memory."""

    def bytes_of(self, name: str) -> int:
        """Return how many bytes a member of this name may have."""
        return self.stream_bytes if claimed_modality(name) in STREAMED else self.member_bytes


@dataclass(frozen=True, slots=True)
class Member:
    """One entry that is no folder."""

    name: str
    header_offset: int
    compressed_size: int
    size: int
    method: int
    crc: int
    problem: LookalikeError | None
    """Why it must not be read."""


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int
    size: int
    shift: int
    """Bytes in front of the archive, such as a self-extracting program."""


def read_members(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the members of an archive, in the order of its directory.

    Raises, before the first one, InvalidContentError (damaged), UnsafeArchiveError (entries
    overlap) or LimitExceededError.
    """
    directory = _find_directory(file)
    _check_whole(file, directory, limits)
    for member in _read_entries(file, directory):
        if not member.name.endswith("/"):
            yield _checked(member, limits)


def _find_directory(file: BinaryIO) -> _Directory:
    end = file.seek(0, os.SEEK_END)
    tail_start = max(0, end - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read(_END.size + _MAX_COMMENT)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END.size:
        raise InvalidContentError("the zip archive is damaged or truncated: it has no directory")
    _, disk, first_disk, _, entries, size, offset, _ = _END.unpack_from(tail, found)
    if disk or first_disk:
        raise UnsupportedMediaError("zip archives of several volumes cannot be read here")
    position = tail_start + found
    if entries == _FULL16 or _FULL32 in {size, offset}:
        position, size, offset = _find_directory64(file, position)
    start = position - size
    if start < offset:
        raise InvalidContentError("the zip archive is damaged: its directory is cut")
    return _Directory(start, size, start - offset)


def _find_directory64(file: BinaryIO, end_position: int) -> tuple[int, int, int]:
    """Return position of the long end record, size and offset of the directory."""
    file.seek(max(0, end_position - _END64_LOCATOR.size))
    locator = file.read(_END64_LOCATOR.size)
    position = end_position - _END64_LOCATOR.size - _END64.size
    if not locator.startswith(b"PK\x06\x07") or position < 0:
        raise InvalidContentError("the zip archive is damaged: its long directory is missing")
    file.seek(position)
    record = file.read(_END64.size)
    if not record.startswith(b"PK\x06\x06"):
        raise InvalidContentError("the zip archive is damaged: its long directory is missing")
    fields = _END64.unpack(record)
    return position, fields[8], fields[9]


def _check_whole(file: BinaryIO, directory: _Directory, limits: ArchiveLimits) -> None:
    """Look through all entries once: their number, their total size, and whether they overlap."""
    ranges = array("Q")
    total = 0
    for member in _read_entries(file, directory):
        total += member.size
        least = _LOCAL_HEADER_SIZE + len(member.name) // 4 + member.compressed_size
        ranges.extend((member.header_offset, member.header_offset + least))
        if len(ranges) // 2 > limits.members:
            raise LimitExceededError(f"the archive has more than {limits.members} members")
    if total > limits.total_bytes:
        raise LimitExceededError(
            f"the archive unpacks to {total} bytes; at most {limits.total_bytes} are allowed"
        )
    previous_end = 0
    for start, end in sorted(zip(ranges[::2], ranges[1::2], strict=True)):
        if start < previous_end or end > directory.start:
            raise UnsafeArchiveError("entries of the archive overlap")
        previous_end = end


def _read_entries(file: BinaryIO, directory: _Directory) -> Iterator[Member]:
    position, end = directory.start, directory.start + directory.size
    while position < end:
        file.seek(position)
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or not head.startswith(b"PK\x01\x02"):
            raise InvalidContentError("the zip archive is damaged: its directory cannot be read")
        fields = _ENTRY.unpack(head)
        name_length, extra_length, comment_length = fields[12:15]
        variable = file.read(name_length + extra_length)
        yield _to_member(fields, variable[:name_length], variable[name_length:], directory.shift)
        position += _ENTRY.size + name_length + extra_length + comment_length


def _to_member(fields: tuple[int, ...], raw_name: bytes, extra: bytes, shift: int) -> Member:
    system, flags, method, crc = fields[2], fields[5], fields[6], fields[9]
    sizes = _long_sizes(extra, size=fields[11], compressed=fields[10], offset=fields[18])
    size, compressed, offset = sizes
    encoding = "utf-8" if flags & _UTF8 else "cp437"
    mode = fields[17] >> 16 if system == _UNIX else 0
    return Member(
        name=raw_name.decode(encoding, "backslashreplace"),
        header_offset=offset + shift,
        compressed_size=compressed,
        size=size,
        method=method,
        crc=crc,
        problem=_refusal(mode, flags, method),
    )


def _long_sizes(extra: bytes, *, size: int, compressed: int, offset: int) -> tuple[int, int, int]:
    """Take sizes over 4 GiB from the extra field, where they stand in a fixed order."""
    values = [size, compressed, offset]
    long_values = _find_extra(extra, _ZIP64_FIELD)
    for index, value in enumerate(values):
        if value == _FULL32:
            if len(long_values) < struct.calcsize("<Q"):
                raise InvalidContentError("the zip archive is damaged: a long size is missing")
            values[index] = int.from_bytes(long_values[:8], "little")
            long_values = long_values[8:]
    return values[0], values[1], values[2]


def _find_extra(extra: bytes, wanted: int) -> bytes:
    while len(extra) >= struct.calcsize("<HH"):
        kind, length = struct.unpack_from("<HH", extra)
        if kind == wanted:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _refusal(mode: int, flags: int, method: int) -> LookalikeError | None:
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return UnsafeArchiveError("this member is a link or a device")
    if flags & _ENCRYPTED:
        return UnsupportedMediaError("this member is encrypted")
    if method not in {STORED, DEFLATED}:
        return UnsupportedMediaError(f"this member is packed by method {method}; only deflate")
    return None


def _checked(member: Member, limits: ArchiveLimits) -> Member:
    problem = member.problem or name_problem(member.name) or _size_problem(member, limits)
    return Member(
        member.name,
        member.header_offset,
        member.compressed_size,
        member.size,
        member.method,
        member.crc,
        problem,
    )


def _size_problem(member: Member, limits: ArchiveLimits) -> LookalikeError | None:
    if member.size > limits.bytes_of(member.name):
        return LimitExceededError(
            f"this member unpacks to {member.size} bytes; {limits.bytes_of(member.name)} are "
            "allowed"
        )
    if member.size > 1 << 20 and member.size > limits.ratio * member.compressed_size:
        return UnsafeArchiveError(f"this member is packed more than {limits.ratio} times")
    return None
