"""Opens what items lie in: files, assets, members of archives, compressed or not.

Everything that lists or reads goes through here, so that a table in a zip archive and one in a
folder are the same thing to whoever reads tables. What is small is held in memory, what is larger
in the local cache, and what is compressed is read forwards, from where it was left.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, TypeAlias

from lookalike_common.errors import InvalidContentError, LimitExceededError, SourceChangedError
from lookalike_ingest.places import (
    AssetPlace,
    Compression,
    ContainerPlace,
    FilePlace,
    MemberPlace,
    SlicePlace,
    place_to_text,
)
from lookalike_ingest.sources.cursors import Cursors
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.sources.streams import (
    CountingReader,
    bounded,
    gunzip,
    read_pieces,
    reader,
    window,
)
from lookalike_ingest.sources.zip_directory import ArchiveLimits
from lookalike_ingest.sources.zip_member import stream_member

OpenAsset: TypeAlias = Callable[[str, str], BinaryIO]
"""Opens an asset by tenant and SHA-256."""
Unpack: TypeAlias = Callable[[CountingReader], Iterator[bytes]]
"""Unpacks a compressed file, piece by piece."""
_SIGNATURES: Mapping[bytes, Compression] = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SIGNATURE_BYTES = 4


@dataclass(frozen=True, slots=True)
class ContainerLimits:
    """What may come out of a container, and where it is held."""

    archives: ArchiveLimits = field(default_factory=ArchiveLimits)
    memory_bytes: int = 4 << 20
    """An item with more bytes than this, which must be unpacked, goes into the local cache."""


class Containers:
    """Opens containers and what lies in them. Blocks: call it in a thread."""

    def __init__(
        self,
        roots: Roots,
        open_asset: OpenAsset,
        unzstd: Unpack,
        *,
        cache: LocalCache,
        limits: ContainerLimits,
    ) -> None:
        self._roots = roots
        self._open_asset = open_asset
        self._unpack: Mapping[str, Unpack] = {"gzip": gunzip, "zstd": unzstd}
        self._cache = cache
        self._limits = limits
        self._cursors = Cursors()

    def open(self, tenant: str, place: ContainerPlace | SlicePlace) -> BinaryIO:
        """Open the bytes of a place, seekable, from their beginning; not unpacked any further.

        Raises SourceChangedError for what is not any more as it was listed, NotFoundError,
        LocationNotAllowedError, InvalidContentError or UnsafeArchiveError for what is damaged or
        lies, LimitExceededError.
        """
        match place:
            case FilePlace(path):
                return self._roots.open(path)
            case AssetPlace(sha256):
                return self._open_asset(tenant, sha256)
            case MemberPlace():
                return self._hold(tenant, place, place.size, partial(self._member, tenant, place))
            case SlicePlace():
                return self._open_slice(tenant, place)

    def open_stream(
        self, tenant: str, container: ContainerPlace, compression: Compression
    ) -> BinaryIO:
        """Open a container's unpacked bytes, forwards only: not seekable.

        Reading raises what `open` raises.
        """
        return reader(self._stream(tenant, container, compression))

    def version(self, tenant: str, place: ContainerPlace) -> str:
        """Return what changes when a container changes, for `SlicePlace.version`.

        Empty where it cannot change without being another container.
        """
        file_place = place.archive if isinstance(place, MemberPlace) else place
        if isinstance(file_place, AssetPlace):
            return ""
        with self.open(tenant, file_place) as file:
            facts = os.fstat(file.fileno())
        return f"{facts.st_size}-{facts.st_mtime_ns}"

    def close(self) -> None:
        """Let go of what is kept open."""
        self._cursors.close()

    def _open_slice(self, tenant: str, place: SlicePlace) -> BinaryIO:
        if place.version and place.version != self.version(tenant, place.container):
            raise SourceChangedError("the file changed since it was listed")
        if not place.compression and not isinstance(place.container, MemberPlace):
            return _cut(self.open(tenant, place.container), place)
        return self._hold(tenant, place, place.length, partial(self._slice, tenant, place))

    def _hold(
        self,
        tenant: str,
        place: MemberPlace | SlicePlace,
        size: int,
        pieces: Callable[[], Iterator[bytes]],
    ) -> BinaryIO:
        """Unpack what can be read forwards only: into memory, or the local cache."""
        if 0 <= size <= self._limits.memory_bytes:
            return io.BytesIO(b"".join(pieces()))
        return self._cache.open(f"{tenant}\0{place_to_text(place)}", size, pieces)

    def _slice(self, tenant: str, place: SlicePlace) -> Iterator[bytes]:
        """Yield the bytes of a place in something that can be read forwards only."""
        key = (tenant, place.container, place.compression, place.version)
        opener = partial(self.open_stream, tenant, place.container, place.compression)
        length, limit = 0, self._limits.archives.member_bytes
        with self._cursors.at(key, opener, place.offset) as cursor:
            for piece in read_pieces(cursor, place.length):
                length += len(piece)
                if length > limit:
                    raise LimitExceededError(f"this has more than {limit} bytes")
                yield piece
        if length < place.length:
            raise SourceChangedError("the file ends before a place that was listed")

    def _stream(
        self, tenant: str, container: ContainerPlace, compression: Compression
    ) -> Iterator[bytes]:
        limits = self._limits.archives
        with self._open_forwards(tenant, container) as file:
            if not compression:
                yield from read_pieces(file, -1)
                return
            packed = CountingReader(file)
            yield from bounded(
                self._unpack[compression](packed),
                packed,
                total_bytes=limits.total_bytes,
                ratio=limits.ratio,
            )

    def _open_forwards(self, tenant: str, container: ContainerPlace) -> BinaryIO:
        if isinstance(container, MemberPlace):
            return reader(self._member(tenant, container))
        return self.open(tenant, container)

    def _member(self, tenant: str, place: MemberPlace) -> Iterator[bytes]:
        with closing(self.open(tenant, place.archive)) as file:
            if file.seek(0, os.SEEK_END) != place.archive_size:
                raise SourceChangedError("the archive changed since it was listed")
            yield from stream_member(file, place)


def detect_compression(file: BinaryIO) -> Compression:
    """Tell by its first bytes how a seekable file is packed; it stands at its beginning after."""
    prefix = file.read(_SIGNATURE_BYTES)
    file.seek(0)
    found = (name for signature, name in _SIGNATURES.items() if prefix.startswith(signature))
    return next(found, "")


def _cut(file: BinaryIO, place: SlicePlace) -> BinaryIO:
    size = file.seek(0, os.SEEK_END)
    length = size - place.offset if place.length < 0 else place.length
    if place.offset + length > size or length < 0:
        file.close()
        raise InvalidContentError("the file ends before a place that was listed: it is truncated")
    return window(file, place.offset, length)
