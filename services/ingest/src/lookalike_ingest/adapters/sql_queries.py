"""What the job store reads about jobs and their items, each on a connection that the caller has."""

import hashlib
import json
from collections.abc import Sequence

import sqlalchemy as sa

from lookalike_ingest.adapters.sql_rows import (
    Row,
    failure_from_row,
    job_from_row,
    listed_from_row,
)
from lookalike_ingest.adapters.sql_tables import FAILURES, ITEMS, JOBS, LABELS
from lookalike_ingest.job import UNFINISHED_STATES, Job, JobState, ListedItem, NewItem, Outcome
from lookalike_ingest.job_store import JobFilter
from lookalike_ingest.places import place_from_text

_LEFT = sa.or_(ITEMS.c.outcome.is_(None), ITEMS.c.outcome == Outcome.FAILED)


def list_jobs(
    connection: sa.Connection,
    tenant: str,
    which: JobFilter,
    before_generation: int | None,
    limit: int,
) -> Sequence[Job]:
    """Return jobs, newest first."""
    query = sa.select(JOBS).where(JOBS.c.tenant == tenant)
    if which.states:
        query = query.where(JOBS.c.state.in_(which.states))
    if which.collection:
        query = query.where(JOBS.c.collection == which.collection)
    for key, value in which.labels:
        query = query.where(_has_label(key, value))
    if before_generation is not None:
        query = query.where(JOBS.c.generation < before_generation)
    query = query.order_by(JOBS.c.generation.desc()).limit(limit)
    return [job_from_row(row) for row in connection.execute(query)]


def list_unfinished(connection: sa.Connection) -> Sequence[Job]:
    """Return the jobs that are not final, oldest first."""
    query = sa.select(JOBS).where(JOBS.c.state.in_(UNFINISHED_STATES)).order_by(JOBS.c.generation)
    return [job_from_row(row) for row in connection.execute(query)]


def list_looks(connection: sa.Connection, now: int) -> Sequence[Job]:
    """Return the jobs whose next look at their source is due."""
    query = sa.select(JOBS).where(JOBS.c.state == JobState.RUNNING, JOBS.c.look_at <= now)
    return [job_from_row(row) for row in connection.execute(query)]


def list_retriable(connection: sa.Connection) -> Sequence[str]:
    """Return the ids of the jobs of which items may be left to do."""
    query = sa.select(JOBS.c.id).where(JOBS.c.state != JobState.SUCCEEDED)
    return list(connection.execute(query).scalars())


def list_items(
    connection: sa.Connection,
    job_id: str,
    outcomes: Sequence[Outcome | None],
    after: int,
    limit: int,
) -> Sequence[ListedItem]:
    """Return items with an ordinal above `after`."""
    query = sa.select(ITEMS).where(ITEMS.c.job == job_id, ITEMS.c.ordinal > after)
    if outcomes:
        named = ITEMS.c.outcome.in_([each for each in outcomes if each is not None])
        query = query.where(sa.or_(named, ITEMS.c.outcome.is_(None)) if None in outcomes else named)
    query = query.order_by(ITEMS.c.ordinal).limit(limit)
    return [listed_from_row(row) for row in connection.execute(query)]


def first_pending(connection: sa.Connection, job_id: str) -> int | None:
    """Return the ordinal of the first item without an outcome."""
    query = (
        sa.select(ITEMS.c.ordinal)
        .where(ITEMS.c.job == job_id, ITEMS.c.outcome.is_(None))
        .order_by(ITEMS.c.ordinal)
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def last_written(connection: sa.Connection, job_id: str) -> str | None:
    """Return the key of the item that a job wrote last."""
    last = sa.select(JOBS.c.last_written).where(JOBS.c.id == job_id).scalar_subquery()
    query = sa.select(ITEMS.c.key).where(ITEMS.c.job == job_id, ITEMS.c.ordinal == last)
    return connection.execute(query).scalar_one_or_none()


def has_left(connection: sa.Connection, job_id: str) -> bool:
    """Tell whether a job has items that failed or were not reached."""
    query = sa.select(ITEMS.c.ordinal).where(ITEMS.c.job == job_id, _LEFT).limit(1)
    return _was_cut(connection, job_id) or connection.execute(query).first() is not None


def must_list_again(connection: sa.Connection, job_id: str) -> bool:
    """Tell whether parts of a job's source could not be listed, or were not."""
    query = (
        sa.select(ITEMS.c.ordinal)
        .where(ITEMS.c.job == job_id, ITEMS.c.listed.is_(sa.false()))
        .limit(1)
    )
    return _was_cut(connection, job_id) or connection.execute(query).first() is not None


def list_left(
    connection: sa.Connection, job_id: str, after: int, limit: int
) -> tuple[Sequence[NewItem], int]:
    """Return items that failed or were not reached, and the ordinal of the last one."""
    query = (
        sa.select(ITEMS)
        .where(ITEMS.c.job == job_id, ITEMS.c.ordinal > after, _LEFT)
        .order_by(ITEMS.c.ordinal)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    items = [_to_new_item(connection, row) for row in rows]
    return items, rows[-1].ordinal if rows else after


def drop_done(
    connection: sa.Connection, job_id: str, items: Sequence[NewItem]
) -> Sequence[NewItem]:
    """Return the found items that neither a job nor those it retries brought to a good outcome."""
    folds = {fold_of(item.key): item for item in items}
    done: set[str] = set()
    while job_id:
        query = sa.select(ITEMS.c.fold).where(
            ITEMS.c.job == job_id, ITEMS.c.fold.in_(folds), sa.not_(_LEFT)
        )
        done |= {folds[fold].key for fold in connection.execute(query).scalars()}
        before = sa.select(JOBS.c.retry_of).where(JOBS.c.id == job_id)
        job_id = connection.execute(before).scalar_one_or_none() or ""
    return [item for item in items if item.key not in done]


def fold_of(key: str) -> bytes:
    """Return what makes an item unique in its job."""
    return hashlib.sha256(key.encode()).digest()[:16]


def _has_label(key: str, value: str | None) -> sa.ColumnElement[bool]:
    query = sa.select(LABELS.c.job).where(LABELS.c.job == JOBS.c.id, LABELS.c.key == key)
    if value is not None:
        query = query.where(LABELS.c.value == value)
    return query.exists()


def _was_cut(connection: sa.Connection, job_id: str) -> bool:
    """Tell whether a job ended before all its items were found."""
    query = sa.select(JOBS.c.total).where(JOBS.c.id == job_id)
    return connection.execute(query).scalar_one_or_none() is None


def _to_new_item(connection: sa.Connection, row: Row) -> NewItem:
    """Return an item to be tried again; one whose key was taken stays the failure that it is."""
    item = NewItem(
        key=row.key,
        source_uri=row.source_uri,
        place=place_from_text(row.place),
        size=row.size,
        attributes=json.loads(row.attributes) if row.attributes else {},
    )
    if row.fold is not None or row.outcome is None:
        return item
    query = sa.select(FAILURES).where(FAILURES.c.job == row.job, FAILURES.c.ordinal == row.ordinal)
    problem = failure_from_row(connection.execute(query).one()).problem
    return NewItem(
        item.key,
        item.source_uri,
        item.place,
        item.size,
        item.attributes,
        outcome=Outcome.FAILED,
        problem=problem,
    )
