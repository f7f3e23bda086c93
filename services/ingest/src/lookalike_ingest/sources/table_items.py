"""Lists the rows of a job's table, each an item of its own."""

from collections.abc import Iterator

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.columns import Columns, parse_columns, read_key, read_uri
from lookalike_ingest.job import NewItem, TableSource
from lookalike_ingest.places import line_of
from lookalike_ingest.sources.found import NOWHERE, Found, refused, taken
from lookalike_ingest.sources.references import FindFile
from lookalike_ingest.sources.tables import FoundRow, Tables


class TableLister:
    """Lists tables. Blocks: call it in a thread."""

    def __init__(self, tables: Tables, find: FindFile) -> None:
        self._tables = tables
        self._find = find

    def list_items(self, tenant: str, source: TableSource) -> Iterator[NewItem]:
        """Yield an item for each row: by its key, else `table.csv#3` for the third.

        What is wrong with the table as a whole is an item that failed, behind those before it.
        """
        mapping = parse_columns(source.columns)
        try:
            table = self._find(tenant, source.uri)
            for row in self._tables.list_rows(tenant, table.place, table.key, mapping):
                yield _item(table, row, mapping)
        except TRANSIENT:
            raise
        except (LookalikeError, OSError) as error:
            yield refused(source.uri, source.uri, NOWHERE, "unpack", error)


def _item(table: Found, row: FoundRow, mapping: Columns) -> NewItem:
    key, uri = f"{table.key}#{row.number}", f"{table.uri}#{row.number}"
    line = line_of(row.place)
    try:
        if row.problem is not None:
            raise row.problem
        key = read_key(row.values, mapping) or key
        uri = read_uri(row.values, mapping) or uri
    except LookalikeError as error:
        return refused(key, uri, row.place, "unpack", error, line=line)
    return taken(key, uri, row.place, row.size)
