"""Unpacks Zstandard."""

from collections.abc import Iterator

import zstandard

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.sources.streams import CountingReader

_CHUNK = 512
"""So few, since a frame may give 32 KiB for each of them and the library knows no bound."""
_MAX_WINDOW = 128 << 20
"""What the `zstd` command allows without being asked."""


def unzstd(file: CountingReader) -> Iterator[bytes]:
    """Yield what a Zstandard file holds, frame after frame.

    Raises InvalidContentError for a damaged or truncated one, LimitExceededError for one that
    needs more memory than 128 MiB.
    """
    packed = file.read(_CHUNK)
    while packed:
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        while packed and not unpacker.eof:
            try:
                piece = unpacker.decompress(packed)
            except zstandard.ZstdError as error:
                raise _translated(error) from error
            if piece:
                yield piece
            packed = unpacker.unused_data or file.read(_CHUNK)
        if not unpacker.eof:
            raise InvalidContentError("the zstd file is truncated")


def _translated(error: zstandard.ZstdError) -> InvalidContentError | LimitExceededError:
    if "memory" in str(error):
        return LimitExceededError("the zstd file needs more than 128 MiB of memory to unpack")
    return InvalidContentError("the zstd file is damaged")
