"""Finds the items of a job's source, one after the other; blocks, so it runs in a thread.

What cannot be taken (a link out of its root, an unsafe member) becomes an item with its outcome,
so that nothing is left out without a word.
"""

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from lookalike_common.errors import (
    LimitExceededError,
    LookalikeError,
    NotFoundError,
    SourceChangedError,
    UnsupportedMediaError,
)
from lookalike_ingest.job import FilesSource, GivenItem, ItemProblem, Job, NewItem, Outcome
from lookalike_ingest.places import AssetPlace, FilePlace, MemberPlace, SpoolPlace
from lookalike_ingest.problem import Problem
from lookalike_ingest.sources.folder import FoundFile, walk_folder
from lookalike_ingest.sources.roots import Roots, is_folder_uri, text_of, uri_of
from lookalike_ingest.sources.zip_directory import (
    SIGNATURES,
    ArchiveLimits,
    Member,
    read_members,
)

MAX_KEY_BYTES = 1024
MAX_URI_LENGTH = 2048
_ASSETS = "assets/"
_APPLE_DOUBLE = "._"
OpenAsset: TypeAlias = Callable[[str, str], BinaryIO]
"""Opens an asset by tenant and SHA-256."""


class Lister:
    """Lists sources."""

    def __init__(self, roots: Roots, open_asset: OpenAsset, limits: ArchiveLimits) -> None:
        self._roots = roots
        self._open_asset = open_asset
        self._limits = limits

    def list_items(self, job: Job) -> Iterator[NewItem]:
        """Yield a job's items in order."""
        source = job.spec.source
        if isinstance(source, FilesSource):
            for uri in source.uris:
                for item in self._list_uri(job.tenant, uri):
                    yield _narrowed(source, item)
        else:
            yield from map(_given, source.items)

    def _list_uri(self, tenant: str, uri: str) -> Iterator[NewItem]:
        try:
            if uri.startswith(_ASSETS):
                yield from self._list_asset(tenant, uri)
            elif is_folder_uri(uri):
                yield from self._list_folder(self._roots.resolve_uri(uri))
            else:
                path = self._roots.resolve_uri(uri)
                yield from self._list_file(path, text_of(Path(path).name))
        except (LookalikeError, OSError) as error:
            yield _refused(uri, uri, FilePlace(""), "fetch", error)

    def _list_asset(self, tenant: str, uri: str) -> Iterator[NewItem]:
        place = AssetPlace(uri.removeprefix(_ASSETS))
        with self._open_asset(tenant, place.sha256) as file:
            if not _is_archive(file):
                raise UnsupportedMediaError("this asset is no zip archive; give it as an item")
            yield from self._list_members(file, place, uri, "")

    def _list_folder(self, folder: str) -> Iterator[NewItem]:
        if not Path(folder).is_dir():
            raise NotFoundError("no such folder", resource_name=uri_of(folder))
        for found in walk_folder(folder):
            yield from self._list_found(found)

    def _list_found(self, found: FoundFile) -> Iterator[NewItem]:
        key, uri = text_of(found.relative), uri_of(found.path)
        match found.kind:
            case "file" if key.lower().endswith(".zip"):
                yield from self._list_file(found.path, key, prefix=f"{key}!/")
            case "file":
                yield _found(key, uri, FilePlace(found.path), found.size, found.modified)
            case "link":
                yield self._list_link(found, key, uri)
            case "other":
                yield _skipped(key, uri, FilePlace(found.path))
            case _:
                error = SourceChangedError("this folder cannot be read")
                yield _refused(key or uri, uri, FilePlace(found.path), "fetch", error)

    def _list_link(self, found: FoundFile, key: str, uri: str) -> NewItem:
        """Take a link to a file under a root; leave links to folders, refuse all others."""
        place = FilePlace(found.path)
        try:
            target = self._roots.resolve(found.path)
        except LookalikeError as error:
            return _refused(key, uri, place, "fetch", error)
        if not Path(target).is_file():
            return _skipped(key, uri, place)
        facts = Path(target).stat()
        return _found(key, uri, FilePlace(target), facts.st_size, facts.st_mtime_ns)

    def _list_file(self, path: str, key: str, *, prefix: str = "") -> Iterator[NewItem]:
        """List one file, or the members of an archive."""
        place = FilePlace(path)
        try:
            with self._roots.open(path) as file:
                if _is_archive(file):
                    yield from self._list_members(file, place, uri_of(path), prefix)
                else:
                    facts = os.fstat(file.fileno())
                    yield _found(key, uri_of(path), place, facts.st_size, facts.st_mtime_ns)
        except (LookalikeError, OSError) as error:
            yield _refused(key, uri_of(path), place, "fetch", error)

    def _list_members(
        self, file: BinaryIO, place: FilePlace | AssetPlace, uri: str, prefix: str
    ) -> Iterator[NewItem]:
        size = os.fstat(file.fileno()).st_size
        try:
            for member in read_members(file, self._limits):
                yield _member(member, place, size, uri, prefix)
        except LookalikeError as error:
            yield _refused(prefix.removesuffix("!/") or uri, uri, place, "unpack", error)


def _is_archive(file: BinaryIO) -> bool:
    prefix = file.read(len(SIGNATURES[0]))
    file.seek(0)
    return prefix in SIGNATURES


def _member(
    member: Member, archive: FilePlace | AssetPlace, archive_size: int, uri: str, prefix: str
) -> NewItem:
    key, source_uri = prefix + member.name, f"{uri}!/{member.name}"
    place = MemberPlace(
        archive=archive,
        archive_size=archive_size,
        name=member.name,
        header_offset=member.header_offset,
        compressed_size=member.compressed_size,
        size=member.size,
        method=member.method,
        crc=member.crc,
    )
    if member.problem is not None:
        return _refused(key, source_uri, place, "unpack", member.problem)
    return _found(key, source_uri, place, member.size)


def _given(item: GivenItem) -> NewItem:
    size = item.place.length if isinstance(item.place, SpoolPlace) else 0
    key = item.key or item.sha256
    return NewItem(key, item.source_uri, item.place, size, item.attributes)


def _found(
    key: str, uri: str, place: FilePlace | MemberPlace, size: int, modified: int = 0
) -> NewItem:
    if len(key.encode()) > MAX_KEY_BYTES:
        error = LimitExceededError(f"the path is longer than {MAX_KEY_BYTES} bytes")
        return _refused(key, uri, place, "fetch", error)
    if PurePosixPath(key).name.startswith(_APPLE_DOUBLE):
        return _skipped(key, uri, place)
    version = f"{modified}:{size}" if modified else ""
    return NewItem(key, uri[:MAX_URI_LENGTH], place, size, version=version)


def _skipped(key: str, uri: str, place: FilePlace | MemberPlace) -> NewItem:
    return NewItem(key, uri[:MAX_URI_LENGTH], place, 0, outcome=Outcome.SKIPPED)


def _refused(
    key: str,
    uri: str,
    place: FilePlace | AssetPlace | MemberPlace,
    step: str,
    error: LookalikeError | OSError,
) -> NewItem:
    problem = ItemProblem(step, Problem.of(_explain(error)))
    key, uri = (text.replace("\0", "\\0") for text in (key, uri))  # no database takes it
    return NewItem(key, uri[:MAX_URI_LENGTH], place, 0, outcome=Outcome.FAILED, problem=problem)


def _explain(error: LookalikeError | OSError) -> LookalikeError:
    if isinstance(error, LookalikeError):
        return error
    return SourceChangedError(f"this cannot be read: {error.strerror}")


def _narrowed(source: FilesSource, item: NewItem) -> NewItem:
    """Skip what the globs leave out; `*` in them also stands for `/`."""
    taken = not source.include or any(fnmatchcase(item.key, glob) for glob in source.include)
    excluded = any(fnmatchcase(item.key, glob) for glob in source.exclude)
    if taken and not excluded:
        return item
    return NewItem(item.key, item.source_uri, item.place, 0, outcome=Outcome.SKIPPED)
