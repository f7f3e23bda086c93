"""Turns a file that was found into the items in it: itself, the members of an archive, records.

What a file claims to be by its name is enough in a folder; a file that was named alone is also
looked at. Archives in archives are not unpacked; a file of records in an archive is.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from lookalike_common.errors import LookalikeError, UnsafeArchiveError
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.job import NewItem
from lookalike_ingest.places import Compression, MemberPlace, WholePlace
from lookalike_ingest.sources.containers import Containers, detect_compression
from lookalike_ingest.sources.found import Extent, Found, refused, skipped, taken
from lookalike_ingest.sources.globs import Globs
from lookalike_ingest.sources.streams import read_pieces, reader
from lookalike_ingest.sources.tar import BLOCK, TarMember, TarReader, is_tar
from lookalike_ingest.sources.zip_directory import SIGNATURES, ArchiveLimits, Member, read_members

_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}
_COMPRESSIONS[".tzst"] = "zstd"
_ARCHIVES = frozenset({"zip", "tar"})
_SHORT_TAR = (".tgz", ".tzst")


class RecordLister(Protocol):
    """Lists the records of files that hold several items and are no archives."""

    def lists(self, name: str) -> bool:
        """Tell whether a file of this name (without what says that it is compressed) is one."""

    def list_records(self, stream: BinaryIO, extent: Extent, found: Found) -> Iterator[NewItem]:
        """Yield the records of a stream, which is read forwards and whose bytes lie at `extent`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a file is, as a container of items."""

    kind: str = ""
    """`zip`, `tar`, `records`, or empty for one item."""
    compression: Compression = ""
    name: str = ""
    """Its name without what says that it is compressed."""


class Unfolding:
    """Unfolds files. Blocks: call it in a thread."""

    def __init__(
        self,
        containers: Containers,
        limits: ArchiveLimits,
        record_listers: Sequence[RecordLister] = (),
    ) -> None:
        self._containers = containers
        self._limits = limits
        self._record_listers = record_listers

    def unfold(self, tenant: str, found: Found, globs: Globs) -> Iterator[NewItem]:
        """Yield the items of a file in a folder, whose name says what it is.

        What goes wrong becomes an item that failed; items before that place stay.
        """
        yield from self._unfold(tenant, found, globs, self.shape_of(found.key), f"{found.key}!/")

    def unfold_alone(self, tenant: str, found: Found, globs: Globs) -> Iterator[NewItem]:
        """Yield the items of a file that was named by itself: it is looked at.

        Members of an archive are called by their own names alone.
        """
        try:
            shape = self.look(tenant, found)
        except TRANSIENT:
            raise
        except (LookalikeError, OSError) as error:
            yield refused(found.key, found.uri, found.place, "fetch", error)
            return
        yield from self._unfold(tenant, found, globs, shape, "")

    @staticmethod
    def whole(found: Found) -> NewItem:
        """Return a file as one item, whatever it claims to be."""
        return taken(found.key, found.uri, found.place, found.size, found.version)

    def shape_of(self, name: str) -> Shape:
        """Return what a file of this name claims to be."""
        suffix = PurePosixPath(name).suffix.lower()
        compression = _COMPRESSIONS.get(suffix, "")
        inner = name[: -len(suffix)] if compression else name
        if suffix in _SHORT_TAR or inner.lower().endswith(".tar"):
            return Shape("tar", compression, inner)
        if suffix == ".zip":
            return Shape("zip", "", name)
        if any(each.lists(inner) for each in self._record_listers):
            return Shape("records", compression, inner)
        return Shape("", compression, inner)

    def look(self, tenant: str, found: Found) -> Shape:
        """Return what a file is by its first bytes and, for records, by its name."""
        claimed = self.shape_of(found.key)
        with self._containers.open(tenant, found.place) as file:
            prefix = file.read(BLOCK)
            file.seek(0)
            compression = detect_compression(file)
        if prefix.startswith(SIGNATURES):
            return Shape("zip", "", found.key)
        name = claimed.name if claimed.compression else found.key
        if compression:
            with self._containers.open_stream(tenant, found.place, compression) as stream:
                prefix = stream.read(BLOCK)
        kind = "tar" if is_tar(prefix) else claimed.kind if claimed.kind == "records" else ""
        return Shape(kind, compression, name)

    def _unfold(
        self, tenant: str, found: Found, globs: Globs, shape: Shape, prefix: str
    ) -> Iterator[NewItem]:
        if globs.excludes(found.key) or (not shape.kind and not globs.takes(found.key)):
            yield skipped(found.key, found.uri, found.place)
            return
        step = "unpack" if shape.kind or shape.compression else "fetch"
        try:
            match shape.kind:
                case "zip":
                    yield from self._list_zip(tenant, found, globs, prefix)
                case "tar":
                    yield from self._list_tar(tenant, found, globs, shape, prefix)
                case "records" if globs.takes(found.key):
                    with self._containers.open_stream(
                        tenant, found.place, shape.compression
                    ) as stream:
                        extent = self._extent(tenant, found, shape.compression)
                        yield from self._list_records(stream, extent, found, shape.name)
                case "records":
                    yield skipped(found.key, found.uri, found.place)
                case _:
                    yield self._list_one(tenant, found, shape)
        except TRANSIENT:
            raise
        except (LookalikeError, OSError) as error:
            key = found.uri if shape.kind in _ARCHIVES and not prefix else found.key
            yield refused(key, found.uri, found.place, step, error)

    def _list_one(self, tenant: str, found: Found, shape: Shape) -> NewItem:
        if not shape.compression:
            return taken(found.key, found.uri, found.place, found.size, found.version)
        extent = self._extent(tenant, found, shape.compression)
        place = extent.piece(0, -1, PurePosixPath(shape.name).name)
        return taken(found.key, found.uri, place, found.size, found.version)

    def _extent(self, tenant: str, found: Found, compression: Compression) -> Extent:
        return Extent(
            found.place, compression, version=self._containers.version(tenant, found.place)
        )

    def _list_records(
        self, stream: BinaryIO, extent: Extent, found: Found, name: str
    ) -> Iterator[NewItem]:
        lister = next(each for each in self._record_listers if each.lists(name))
        yield from lister.list_records(stream, extent, found)

    def _list_zip(self, tenant: str, found: Found, globs: Globs, prefix: str) -> Iterator[NewItem]:
        archive = found.place
        if isinstance(archive, MemberPlace):
            raise UnsafeArchiveError("archives in archives are not unpacked")
        with self._containers.open(tenant, archive) as file:
            size = file.seek(0, os.SEEK_END)
            for member in read_members(file, self._limits):
                place = _zip_place(member, archive, size)
                uri = f"{found.uri}!/{member.name}"
                version = f"{member.crc:08x}:{member.size}"
                inner = Found(prefix + member.name, uri, place, member.size, version)
                if member.problem is None and self._is_records(member.name):
                    yield from self._unfold(
                        tenant, inner, globs, self.shape_of(member.name), prefix
                    )
                else:
                    yield _settled(inner, globs, member.problem)

    def _list_tar(
        self, tenant: str, found: Found, globs: Globs, shape: Shape, prefix: str
    ) -> Iterator[NewItem]:
        extent = self._extent(tenant, found, shape.compression)
        with self._open(tenant, found, shape.compression) as stream:
            archive = TarReader(stream, self._limits)
            for member in archive.members():
                inner = Found(
                    prefix + member.name,
                    f"{found.uri}!/{member.name}",
                    found.place,
                    member.size,
                    found.version,
                )
                if member.problem is None and self._is_records(member.name):
                    yield from self._list_tar_records(archive, member, inner, globs, extent)
                else:
                    yield _settled_in_tar(inner, globs, member, extent)

    def _list_tar_records(
        self, archive: TarReader, member: TarMember, found: Found, globs: Globs, extent: Extent
    ) -> Iterator[NewItem]:
        if not globs.takes(found.key):
            yield skipped(found.key, found.uri, found.place)
            return
        inner = Extent(extent.container, extent.compression, member.offset, extent.version)
        stream = reader(read_pieces(archive, -1))
        try:
            yield from self._list_records(stream, inner, found, member.name)
        except TRANSIENT:
            raise
        except LookalikeError as error:
            yield refused(found.key, found.uri, found.place, "unpack", error)

    def _open(self, tenant: str, found: Found, compression: Compression) -> BinaryIO:
        """Open what is in a file; one that is not compressed can also be searched in."""
        if compression:
            return self._containers.open_stream(tenant, found.place, compression)
        return self._containers.open(tenant, found.place)

    def _is_records(self, name: str) -> bool:
        return any(each.lists(name) for each in self._record_listers)


def _zip_place(member: Member, archive: WholePlace, archive_size: int) -> MemberPlace:
    return MemberPlace(
        archive=archive,
        archive_size=archive_size,
        name=member.name,
        header_offset=member.header_offset,
        compressed_size=member.compressed_size,
        size=member.size,
        method=member.method,
        crc=member.crc,
    )


def _settled(found: Found, globs: Globs, problem: LookalikeError | None) -> NewItem:
    if not globs.takes(found.key):
        return skipped(found.key, found.uri, found.place)
    if problem is not None:
        return refused(found.key, found.uri, found.place, "unpack", problem)
    return taken(found.key, found.uri, found.place, found.size, found.version)


def _settled_in_tar(found: Found, globs: Globs, member: TarMember, extent: Extent) -> NewItem:
    place = extent.piece(member.offset, member.size, member.name)
    if not globs.takes(found.key):
        return skipped(found.key, found.uri, place)
    if member.problem is not None:
        return refused(found.key, found.uri, place, "unpack", member.problem)
    return taken(found.key, found.uri, place, found.size, found.version)
