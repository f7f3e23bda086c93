"""Keys in a temporary database of SQLite, which lies in memory until it is large, then on disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b

_ADD = "INSERT OR IGNORE INTO keys VALUES (?)"
_DIGEST_BYTES = 16


class SqliteKeySet:
    """A `KeySet`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, key: str) -> bool:
        """Add a key; return whether it is a new one."""
        digest = blake2b(key.encode(), digest_size=_DIGEST_BYTES).digest()
        return self._connection.execute(_ADD, (digest,)).rowcount == 1


@contextmanager
def open_key_set() -> Iterator[SqliteKeySet]:
    """Yield an empty set; SQLite deletes its file, which never has a name, with the connection."""
    with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE keys (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("BEGIN")
        yield SqliteKeySet(connection)
