"""Finds the items of a job's source, one after the other; blocks, so it runs in a thread."""

from collections.abc import Iterator

from lookalike_ingest.job import FilesSource, GivenItem, ItemsSource, Job, NewItem, TableSource
from lookalike_ingest.places import SpoolPlace
from lookalike_ingest.sources.canonical_names import CanonicalNames
from lookalike_ingest.sources.files import FilesLister
from lookalike_ingest.sources.table_items import TableLister


class Lister:
    """Lists sources, each kind by the one that knows it."""

    def __init__(self, files: FilesLister, tables: TableLister, names: CanonicalNames) -> None:
        self._files = files
        self._tables = tables
        self._names = names

    def list_items(self, job: Job) -> Iterator[NewItem]:
        """Yield a job's items in order."""
        if job.spec.splitter.molecule.canonical_items:
            yield from self._names.rename(job, self._list(job))
        else:
            yield from self._list(job)

    def _list(self, job: Job) -> Iterator[NewItem]:
        match job.spec.source:
            case FilesSource() as source:
                yield from self._files.list_files(job.tenant, source)
            case TableSource() as source:
                yield from self._tables.list_items(job.tenant, source)
            case ItemsSource(items):
                yield from map(_given, items)


def _given(item: GivenItem) -> NewItem:
    size = item.place.length if isinstance(item.place, SpoolPlace) else 0
    key = item.key or item.sha256
    return NewItem(key, item.source_uri, item.place, size, item.attributes)
