"""Single rows of Parquet files, which can only be read batch by batch.

Rows are asked for in the order of the file, by a few threads at a time; a reader is kept where it
stands for the row that comes next, with the batches around it. Reading one that stands far back
begins its row group again.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import BinaryIO

from lookalike_common.errors import SourceChangedError
from lookalike_ingest.columns import Value
from lookalike_ingest.parquet import ParquetTables

_KEPT_READERS = 4
_KEPT_BATCHES = 3


class _GroupReader:
    """Reads one row group forwards, remembering its last batches."""

    def __init__(self, file: BinaryIO, batches: Iterator[Sequence[Mapping[str, Value]]]) -> None:
        self._file = file
        self._batches = batches
        self._kept: OrderedDict[int, Sequence[Mapping[str, Value]]] = OrderedDict()
        self._end = 0

    @property
    def start(self) -> int:
        """The first row that can still be read."""
        return next(iter(self._kept), 0)

    def read(self, row: int) -> Mapping[str, Value]:
        """Return a row that is not before `start`. Raises SourceChangedError behind the end."""
        while row >= self._end:
            batch = next(self._batches, None)
            if batch is None:
                raise SourceChangedError("the table has fewer rows than when it was listed")
            self._kept[self._end] = batch
            self._end += len(batch)
            if len(self._kept) > _KEPT_BATCHES:
                self._kept.popitem(last=False)
        first = max(each for each in self._kept if each <= row)
        return self._kept[first][row - first]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetRows:
    """Rows by their place. Blocks; threads take turns."""

    def __init__(self, tables: ParquetTables) -> None:
        self._tables = tables
        self._readers: OrderedDict[tuple[Hashable, int], _GroupReader] = OrderedDict()
        self._lock = threading.Lock()
        self._opened = 0

    def read(
        self,
        key: Hashable,
        opener: Callable[[], BinaryIO],
        group: int,
        row: int,
        vectors: frozenset[str],
    ) -> Mapping[str, Value]:
        """Return row `row` of a row group; `key` names the file in the state that was listed."""
        whole = (key, group, vectors)
        with self._lock:
            number, reader = self._take(whole, row) or self._open(opener, group, vectors)
            try:
                found = reader.read(row)
            except BaseException:
                reader.close()
                raise
            self._readers[whole, number] = reader
            while len(self._readers) > _KEPT_READERS:
                self._readers.popitem(last=False)[1].close()
            return found

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._readers:
                self._readers.popitem()[1].close()

    def _take(self, whole: Hashable, row: int) -> tuple[int, _GroupReader] | None:
        """Return the kept reader that has the least way to go."""
        able = [
            (reader.start, number)
            for (own, number), reader in self._readers.items()
            if own == whole and reader.start <= row
        ]
        if not able:
            return None
        number = max(able)[1]
        return number, self._readers.pop((whole, number))

    def _open(
        self, opener: Callable[[], BinaryIO], group: int, vectors: frozenset[str]
    ) -> tuple[int, _GroupReader]:
        file = opener()
        self._opened += 1
        batches = self._tables.read_group(file, group, None, vectors)
        return self._opened, _GroupReader(file, batches)
