"""What the databases' errors mean to the service, by SQLSTATE where there is one."""

import sqlalchemy as sa

from lookalike_common.errors import BackendUnavailableError, LookalikeError, StorageFullError

_COLLIDED = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: the same transaction may work again."""
_RACED = "23505"
"""A row that was not there when it was looked for: next time it is seen."""
_FULL = frozenset({"53100"})
_AWAY_CLASSES = ("08", "53", "57", "58")
"""Connection, resources, operator intervention (also a statement's time-out), system error."""


def collided(error: sa.exc.SQLAlchemyError) -> bool:
    """Tell whether a transaction was given up only because of another one."""
    return _sqlstate(error) in {*_COLLIDED, _RACED}


def translate(error: sa.exc.SQLAlchemyError) -> LookalikeError | None:
    """Return what callers are told; None for a defect, which the error itself describes best."""
    state = _sqlstate(error)
    if state in _FULL or (isinstance(error, sa.exc.OperationalError) and _says_full(error)):
        return StorageFullError("the job store's disk is full")
    away = (
        isinstance(error, sa.exc.TimeoutError)
        or (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated)
        or state in _COLLIDED
        or state.startswith(_AWAY_CLASSES)
        or (isinstance(error, sa.exc.OperationalError) and not state)
    )
    return BackendUnavailableError("the job store cannot be reached") if away else None


def _sqlstate(error: sa.exc.SQLAlchemyError) -> str:
    """Return PostgreSQL's code; empty where the server said nothing, and for SQLite."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    return getattr(cause, "sqlstate", None) or ""


def _says_full(error: sa.exc.OperationalError) -> bool:
    return not _sqlstate(error) and "full" in str(error.orig)
