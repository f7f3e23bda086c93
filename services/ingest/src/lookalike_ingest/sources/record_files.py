"""Lists the records of a file, wherever it lies, each an item of its own."""

from collections.abc import Iterator
from typing import BinaryIO

from lookalike_common.errors import InternalError, LimitExceededError
from lookalike_ingest.job import NewItem
from lookalike_ingest.sources.formats import RecordFormat, record_format
from lookalike_ingest.sources.found import Extent, Found, refused, taken
from lookalike_ingest.sources.key_set import KeySet, OpenKeySet
from lookalike_ingest.sources.lines import RecordLimits, read_lines
from lookalike_ingest.sources.records import NamedRecord, read_records

_SUFFIXES: dict[RecordFormat, str] = {
    "fasta": ".fasta",
    "fastq": ".fastq",
    "sdf": ".sdf",
    "smi": ".smi",
}
_MAX_NAME_BYTES = 500


class RecordFiles:
    """A `RecordLister`: `file.fa!/name` is the record of that name, `file.fa#3` the third one.

    Records are known by their names; the second one of a name, and those without, by their number.
    """

    def __init__(self, limits: RecordLimits, open_keys: OpenKeySet) -> None:
        self._limits = limits
        self._open_keys = open_keys

    def lists(self, name: str) -> bool:
        """Tell whether a file of this name has records."""
        return record_format(name) is not None

    def list_records(self, stream: BinaryIO, extent: Extent, found: Found) -> Iterator[NewItem]:
        """Yield the records of a file; what breaks off, or has too many, raises after them."""
        form = record_format(found.key)
        if form is None:
            raise InternalError(f"{found.key!r} was taken for a file of records")
        lines = read_lines(stream, self._limits.bytes)
        with self._open_keys() as names:
            for number, record in enumerate(read_records(lines, form, self._limits), 1):
                if number > self._limits.count:
                    raise LimitExceededError(
                        f"the file has more than {self._limits.count} records; that many were taken"
                    )
                behind = _behind(record, number, names)
                yield _item(record, extent, found, behind, form)


def _behind(found: NamedRecord, number: int, names: KeySet) -> str:
    """Return what tells a record from the others of its file."""
    known = 0 < len(found.name.encode()) <= _MAX_NAME_BYTES and names.add(found.name)
    return f"!/{found.name}" if known else f"#{number}"


def _item(
    named: NamedRecord, extent: Extent, found: Found, behind: str, form: RecordFormat
) -> NewItem:
    record = named.record
    key, uri = found.key + behind, found.uri + behind
    place = extent.piece(
        record.offset,
        record.length,
        f"{behind.lstrip('!/#')}{_SUFFIXES[form]}",
        kind=form,
        line=record.line,
    )
    if record.problem is not None:
        return refused(key, uri, place, "unpack", record.problem, line=record.line)
    return taken(key, uri, place, record.length)
