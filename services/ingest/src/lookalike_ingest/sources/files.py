"""Lists what URIs stand for: files, folders, uploaded archives.

What cannot be taken (a link out of its root, an unsafe member) becomes an item with its outcome,
so that nothing is left out without a word.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lookalike_common.errors import (
    LookalikeError,
    NotFoundError,
    SourceChangedError,
    UnsupportedMediaError,
)
from lookalike_common.ids import parse_name
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.job import FilesSource, NewItem
from lookalike_ingest.places import AssetPlace, FilePlace
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.sources.folder import FoundFile, walk_folder
from lookalike_ingest.sources.found import NOWHERE, Found, refused, skipped
from lookalike_ingest.sources.globs import Globs
from lookalike_ingest.sources.remote import Remotes, find_remote
from lookalike_ingest.sources.roots import Roots, is_folder_uri, text_of, uri_of
from lookalike_ingest.sources.unfolding import Unfolding

_ASSETS = "assets/"


class FilesLister:
    """Lists sources of files."""

    def __init__(
        self, roots: Roots, remotes: Remotes, containers: Containers, unfolding: Unfolding
    ) -> None:
        self._roots = roots
        self._remotes = remotes
        self._containers = containers
        self._unfolding = unfolding

    def list_files(self, tenant: str, source: FilesSource) -> Iterator[NewItem]:
        """Yield the items of a source in order."""
        globs = Globs(source.include, source.exclude)
        for uri in source.uris:
            try:
                yield from self._list_uri(tenant, uri, globs)
            except TRANSIENT:
                raise
            except (LookalikeError, OSError) as error:
                yield refused(uri, uri, NOWHERE, "fetch", error)

    def find(self, tenant: str, uri: str) -> Found:
        """Return the one file behind a URI, such as a table.

        Raises InvalidArgumentError, LocationNotAllowedError or NotFoundError.
        """
        if uri.startswith(_ASSETS):
            place = AssetPlace(parse_name(uri, "assets", field="")[0])
            with self._containers.open(tenant, place) as file:
                return Found(uri, uri, place, file.seek(0, os.SEEK_END))
        remote = self._remotes.serving(uri)
        if remote is not None:
            return find_remote(remote, uri)
        path = self._roots.resolve_uri(uri)
        return _found(text_of(Path(path).name), path)

    def _list_uri(self, tenant: str, uri: str, globs: Globs) -> Iterator[NewItem]:
        if uri.startswith(_ASSETS):
            yield from self._list_asset(tenant, uri, globs)
        elif is_folder_uri(uri):
            remote = self._remotes.serving(uri)
            if remote is None:
                yield from self._list_folder(tenant, self._roots.resolve_uri(uri), globs)
                return
            for found in remote.walk(uri):
                yield from self._unfolding.unfold(tenant, found, globs)
        else:
            yield from self._unfolding.unfold_alone(tenant, self.find(tenant, uri), globs)

    def _list_asset(self, tenant: str, uri: str, globs: Globs) -> Iterator[NewItem]:
        found = Found(uri, uri, AssetPlace(uri.removeprefix(_ASSETS)), 0)
        if not self._unfolding.look(tenant, found).kind:
            raise UnsupportedMediaError("this asset is no archive; give it as an item")
        yield from self._unfolding.unfold_alone(tenant, found, globs)

    def _list_folder(self, tenant: str, folder: str, globs: Globs) -> Iterator[NewItem]:
        if not Path(folder).is_dir():
            raise NotFoundError("no such folder", resource_name=uri_of(folder))
        for entry in walk_folder(folder):
            yield from self._list_entry(tenant, entry, globs)

    def _list_entry(self, tenant: str, entry: FoundFile, globs: Globs) -> Iterator[NewItem]:
        key, uri, place = text_of(entry.relative), uri_of(entry.path), FilePlace(entry.path)
        match entry.kind:
            case "file":
                version = _version(entry.modified, entry.size)
                found = Found(key, uri, place, entry.size, version)
                yield from self._unfolding.unfold(tenant, found, globs)
            case "link" if globs.takes(key):
                yield self._list_link(entry, key, uri)
            case "unreadable":
                error = SourceChangedError("this folder cannot be read")
                yield refused(key or uri, uri, place, "fetch", error)
            case _:
                yield skipped(key, uri, place)

    def _list_link(self, entry: FoundFile, key: str, uri: str) -> NewItem:
        """Take a link to a file under a root; leave links to folders, refuse all others."""
        place = FilePlace(entry.path)
        try:
            target = self._roots.resolve(entry.path)
        except LookalikeError as error:
            return refused(key, uri, place, "fetch", error)
        if not Path(target).is_file():
            return skipped(key, uri, place)
        return self._unfolding.whole(replace(_found(key, target), uri=uri))


def _found(key: str, path: str) -> Found:
    facts = Path(path).stat()
    version = _version(facts.st_mtime_ns, facts.st_size)
    return Found(key, uri_of(path), FilePlace(path), facts.st_size, version)


def _version(modified: int, size: int) -> str:
    return f"{modified}:{size}"
