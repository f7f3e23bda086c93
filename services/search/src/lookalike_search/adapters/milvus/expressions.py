"""Milvus expressions of the adapter's own, around the filters that `filters` renders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from lookalike_search.adapters.milvus.schema import WRITTEN
from lookalike_search.filters import CheckedExpression, entity_columns, quote, render
from lookalike_search.model import EntityRecord, StoredCollection

_SECOND: Final = 1000
"""In milliseconds."""


def matching(where: CheckedExpression | None, collection: StoredCollection, now: float) -> str:
    """Return what is true of the entities that match a filter and have not outlived their ttl."""
    columns = entity_columns(collection.spec.attributes)
    return all_of(
        [
            render(where, columns) if where is not None else "",
            alive(collection, now),
        ]
    )


def alive(collection: StoredCollection, now: float) -> str:
    """Return what is true of entities that have not outlived their ttl; empty without one."""
    oldest = expiry(collection, now)
    return "" if oldest is None else f"{WRITTEN} > {oldest}"


def expired(collection: StoredCollection, now: float) -> str:
    """Return what is true of entities that have outlived their ttl; empty without one."""
    oldest = expiry(collection, now)
    return "" if oldest is None else f"{WRITTEN} <= {oldest}"


def expiry(collection: StoredCollection, now: float) -> int | None:
    """Return when the youngest of the expired entities was written, in milliseconds since 1970.

    It moves once a second, so that searches at the same time still ask alike.
    """
    ttl = collection.settings.ttl
    return None if ttl is None else int(now) * _SECOND - int(ttl.total_seconds() * _SECOND)


def written_after(record: EntityRecord, milliseconds: int) -> bool:
    """Whether an entity was last written later than that; see `expiry`."""
    written = record.write_time
    return written is not None and round(written.timestamp() * _SECOND) > milliseconds


def all_of(expressions: Iterable[str]) -> str:
    """Return what is true where all are; the empty ones say nothing."""
    said = [each for each in expressions if each]
    return said[0] if len(said) == 1 else " and ".join(f"({each})" for each in said)


def one_of(column: str, values: Iterable[str]) -> str:
    """Return what is true where a column has one of the values."""
    return f"{column} in [{', '.join(map(quote, values))}]"


def portions(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Return the values in portions that one expression can hold."""
    return (values[start : start + size] for start in range(0, len(values), size))
