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
    ObjectPlace,
    RemotePlace,
    SlicePlace,
    WebPlace,
    place_to_text,
)
from lookalike_ingest.sources.cursors import Cursors
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.remote import Remotes
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.sources.streams import (
    LAZY_BYTES,
    CountingReader,
    bounded,
    first_bytes,
    gunzip,
    lazy,
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
        remotes: Remotes,
        limits: ContainerLimits,
    ) -> None:
        self._roots = roots
        self._open_asset = open_asset
        self._unpack: Mapping[str, Unpack] = {"gzip": gunzip, "zstd": unzstd}
        self._cache = cache
        self._remotes = remotes
        self._limits = limits
        self._cursors = Cursors()

    def open(self, tenant: str, place: ContainerPlace | SlicePlace) -> BinaryIO:
        """Open the bytes of a place, seekable, from their beginning; not unpacked any further.

        What must be brought or unpacked is so once it is read beyond its beginning, and reading
        raises the same errors: SourceChangedError for what is not any more as it was listed,
        NotFoundError, LocationNotAllowedError, InvalidContentError or UnsafeArchiveError for what
        is damaged or lies, LimitExceededError, BackendUnavailableError.
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
            case ObjectPlace() | WebPlace():
                return self._open_remote(tenant, place)

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
        if not isinstance(file_place, FilePlace):
            return ""
        with self.open(tenant, file_place) as file:
            facts = os.fstat(file.fileno())
        return f"{facts.st_size}-{facts.st_mtime_ns}"

    def close(self) -> None:
        """Let go of what is kept open."""
        self._cursors.close()

    def _open_remote(self, tenant: str, place: RemotePlace) -> BinaryIO:
        files = self._remotes.of(place)
        if not place.etag or place.size < 0:
            place = files.look(place)
        return self._hold(tenant, place, place.size, partial(files.read, place))

    def _open_slice(self, tenant: str, place: SlicePlace) -> BinaryIO:
        if place.version and place.version != self.version(tenant, place.container):
            raise SourceChangedError("the file changed since it was listed")
        in_order = place.compression or isinstance(place.container, MemberPlace)
        if not in_order and place.length <= self._limits.memory_bytes:
            return _cut(self.open(tenant, place.container), place)
        pieces = partial(self._slice if in_order else self._stretch, tenant, place)
        return self._hold(tenant, place, place.length, pieces)

    def _hold(
        self,
        tenant: str,
        place: MemberPlace | SlicePlace | RemotePlace,
        size: int,
        pieces: Callable[[int], Iterator[bytes]],
    ) -> BinaryIO:
        """Open what must be brought or unpacked: in memory, or in the local cache.

        `pieces` yields its first bytes, or all for a negative number.
        """
        if 0 <= size <= self._limits.memory_bytes:
            return io.BytesIO(b"".join(_exactly(pieces(-1), size)))
        key = f"{tenant}\0{place_to_text(place)}"
        cached = self._cache.find(key)
        if cached is not None:
            return cached
        whole = partial(self._cache.open, key, size, lambda: _exactly(pieces(-1), size))
        return whole() if size < 0 else lazy(size, lambda: b"".join(pieces(LAZY_BYTES)), whole)

    def _stretch(self, tenant: str, place: SlicePlace, length: int) -> Iterator[bytes]:
        """Yield the first bytes of a place in something that can be read anywhere."""
        with _cut(self.open(tenant, place.container), place) as file:
            yield from read_pieces(file, length)

    def _slice(self, tenant: str, place: SlicePlace, wanted: int) -> Iterator[bytes]:
        """Yield the first bytes of a place in something that can be read forwards only."""
        if wanted < 0 or 0 <= place.length < wanted:
            wanted = place.length
        key = (tenant, place.container, place.compression, place.version)
        opener = partial(self.open_stream, tenant, place.container, place.compression)
        length, limit = 0, self._limits.archives.bytes_of(place.name)
        with self._cursors.at(key, opener, place.offset) as cursor:
            for piece in read_pieces(cursor, wanted):
                length += len(piece)
                if length > limit:
                    raise LimitExceededError(f"this has more than {limit} bytes")
                yield piece
        if length < wanted:
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
            return reader(self._member(tenant, container, -1))
        return self.open(tenant, container)

    def _member(self, tenant: str, place: MemberPlace, wanted: int) -> Iterator[bytes]:
        """Yield the first bytes of a member, whose checksum is known only behind its last one."""
        with closing(self.open(tenant, place.archive)) as file:
            if file.seek(0, os.SEEK_END) != place.archive_size:
                raise SourceChangedError("the archive changed since it was listed")
            pieces = stream_member(file, place)
            yield from pieces if wanted < 0 else first_bytes(pieces, wanted)


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


def _exactly(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield pieces that must have `size` bytes together, if that is not negative."""
    length = 0
    for piece in pieces:
        length += len(piece)
        if 0 <= size < length:
            break
        yield piece
    if size >= 0 and length != size:
        raise SourceChangedError("the file has another size than when it was listed")
