"""Which items of a source are gone: what earlier jobs over it left stored, and this one missed."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from lookalike_ingest.adapters.sql_rows import Row
from lookalike_ingest.adapters.sql_tables import ITEMS, JOBS
from lookalike_ingest.job import Outcome, VanishedItem

_STORED = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED)


def list_vanished(
    connection: sa.Connection, job_id: str, after: tuple[int, int], limit: int
) -> Sequence[VanishedItem]:
    """Return vanished items behind a place in the history of a job's source, oldest first."""
    job = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one()
    for earlier in _history(connection, job):
        if earlier.generation < after[0]:
            continue
        last = after[1] if earlier.generation == after[0] else -1
        query = (
            sa.select(ITEMS.c.key, ITEMS.c.ordinal)
            .where(
                ITEMS.c.job == earlier.id,
                ITEMS.c.ordinal > last,
                ITEMS.c.fold.is_not(None),
                ITEMS.c.outcome.in_(_STORED),
                sa.not_(_was_found(job)),
                sa.not_(_has_another_source(job)),
            )
            .order_by(ITEMS.c.ordinal)
            .limit(limit)
        )
        if rows := connection.execute(query).all():
            return [VanishedItem(row.key, earlier.generation, row.ordinal) for row in rows]
    return ()


def forget_vanished(connection: sa.Connection, job_id: str) -> None:
    """Let what an earlier look found, and the last one did not, be new when it returns."""
    looks = sa.select(JOBS.c.look).where(JOBS.c.id == job_id).scalar_subquery()
    gone = sa.and_(ITEMS.c.job == job_id, ITEMS.c.fold.is_not(None), ITEMS.c.seen < looks)
    connection.execute(sa.update(ITEMS).where(gone).values(fold=None))


def list_ended_before(connection: sa.Connection, moment: int) -> Sequence[str]:
    """Return jobs that ended before a moment, but those that the next sync of a source needs."""
    newer = JOBS.alias()
    superseded = sa.exists().where(
        *_of_same_source(newer, JOBS.c), newer.c.synced, newer.c.generation > JOBS.c.generation
    )
    query = sa.select(JOBS.c.id).where(
        JOBS.c.ended_at < moment, sa.or_(sa.not_(JOBS.c.synced), superseded)
    )
    return list(connection.execute(query).scalars())


def _history(connection: sa.Connection, job: Row) -> Iterator[Row]:
    """Yield jobs over the same source from the last one that synced it on, then the job itself.

    One that watches the source did so at its first look; later ones only compare it with itself.
    """
    if not job.synced:
        earlier = sa.and_(*_of_same_source(JOBS, job), JOBS.c.generation < job.generation)
        last = sa.select(sa.func.max(JOBS.c.generation)).where(earlier, JOBS.c.synced)
        since = connection.execute(last).scalar_one() or 0
        wrote = sa.and_(earlier, JOBS.c.generation >= since, sa.not_(JOBS.c.dry_run))
        query = sa.select(JOBS).where(wrote).order_by(JOBS.c.generation)
        yield from connection.execute(query).all()
    if job.watches:
        yield job


def _was_found(job: Row) -> sa.ColumnElement[bool]:
    mine = ITEMS.alias()
    return sa.exists().where(
        mine.c.job == job.id, mine.c.fold == ITEMS.c.fold, mine.c.seen == job.look
    )


def _has_another_source(job: Row) -> sa.ColumnElement[bool]:
    """Tell whether jobs over another source stored an item with the same key."""
    other, theirs = JOBS.alias(), ITEMS.alias()
    return sa.exists().where(
        other.c.tenant == job.tenant,
        other.c.collection == job.collection,
        other.c.source != job.source,
        sa.not_(other.c.dry_run),
        theirs.c.job == other.c.id,
        theirs.c.fold == ITEMS.c.fold,
        theirs.c.outcome.in_(_STORED),
    )


def _of_same_source(jobs: sa.FromClause, of: object) -> Sequence[sa.ColumnElement[bool]]:
    """Compare jobs with a row, or with the columns of a table, which have the same names."""
    return [jobs.c[name] == getattr(of, name) for name in ("source", "tenant", "collection")]
