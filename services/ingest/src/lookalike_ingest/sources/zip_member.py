"""Reads one member of a zip archive from its place, bounded by what the directory said.

The directory was checked when the archive was listed; here its claims are enforced on the bytes
that really come: no more than declared, no fewer, and with the declared checksum.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from lookalike_common.errors import InvalidContentError, UnsafeArchiveError
from lookalike_ingest.places import MemberPlace
from lookalike_ingest.sources.streams import read_pieces
from lookalike_ingest.sources.zip_directory import STORED

_LOCAL = struct.Struct("<4s2B4HL2L2H")
_CHUNK = 64 << 10
_PIECE = 1 << 20


def read_member(file: BinaryIO, place: MemberPlace) -> bytes:
    """Return a member's bytes; memory stays within its declared size.

    Raises what `stream_member` raises.
    """
    return b"".join(stream_member(file, place))


def stream_member(file: BinaryIO, place: MemberPlace) -> Iterator[bytes]:
    """Yield a member's bytes, piece by piece.

    Raises UnsafeArchiveError (more bytes than declared) or InvalidContentError (damaged), the
    latter perhaps only behind the last piece, when the checksum is known.
    """
    _seek_data(file, place)
    length = crc = 0
    for piece in _read_stored(file, place) if place.method == STORED else _inflate(file, place):
        length += len(piece)
        crc = zlib.crc32(piece, crc)
        yield piece
    if length != place.size:
        raise InvalidContentError(
            f"the member ends after {length} of {place.size} bytes: it is truncated"
        )
    if crc != place.crc:
        raise InvalidContentError("the member is damaged: its checksum differs")


def _seek_data(file: BinaryIO, place: MemberPlace) -> None:
    file.seek(place.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise InvalidContentError("the archive is damaged: a member's header cannot be read")
    name_length, extra_length = _LOCAL.unpack(head)[10:12]
    file.seek(name_length + extra_length, 1)


def _read_stored(file: BinaryIO, place: MemberPlace) -> Iterator[bytes]:
    if place.compressed_size != place.size:
        raise UnsafeArchiveError("the member is stored with another size than its own")
    return read_pieces(file, place.size)


def _inflate(file: BinaryIO, place: MemberPlace) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    remaining, left = place.compressed_size, place.size
    try:
        while not unpacker.eof and (remaining or unpacker.unconsumed_tail):
            packed = unpacker.unconsumed_tail or file.read(min(_CHUNK, remaining))
            if not packed:
                break
            if not unpacker.unconsumed_tail:
                remaining -= len(packed)
            piece = unpacker.decompress(packed, min(left + 1, _PIECE))
            left -= len(piece)
            if left < 0:
                raise UnsafeArchiveError(
                    f"the member unpacks to more than the {place.size} bytes it declares"
                )
            yield piece
    except zlib.error as error:
        raise InvalidContentError("the member is damaged: it cannot be unpacked") from error
