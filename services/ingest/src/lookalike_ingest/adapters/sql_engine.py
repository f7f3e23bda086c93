"""Connections to the database of jobs: SQLite on one machine, PostgreSQL for many replicas."""

import sqlite3
from collections.abc import Mapping

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

_BUSY_TIMEOUT_MS = 30_000
_POOL_TIMEOUT_SECONDS = 30
_POSTGRES: Mapping[str, str | int] = {
    "connect_timeout": 5,  # seconds, as are the next ones
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
    "application_name": "lookalike-ingest",
}
"""A database that vanished without a word is given up within a quarter of a minute."""
_SESSION_MS: Mapping[str, int] = {
    "statement_timeout": 60_000,
    "idle_in_transaction_session_timeout": 10_000,
}
"""A process that stands still holds up nobody else's jobs for longer."""


def is_postgres(url: str) -> bool:
    """Tell whether a database is PostgreSQL; else it is SQLite."""
    return url.startswith("postgresql:")


def make_engine(url: str, connections: int) -> sa.Engine:
    """Return an engine that is not yet connected; PostgreSQL is used by so many connections."""
    if not is_postgres(url):
        engine = sa.create_engine(url)
        _prepare_sqlite(engine)
        return engine
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION_MS.items())
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        connect_args={**_POSTGRES, "options": options},
    )


def session_conninfo(url: str) -> str:
    """Return what a single connection to PostgreSQL, beside the engine, is opened with."""
    return make_conninfo(url, **_POSTGRES)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let transactions begin as writers: pysqlite would begin them at the first change only."""

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin_immediately(connection: sa.Connection) -> None:
        if connection.get_isolation_level() != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
