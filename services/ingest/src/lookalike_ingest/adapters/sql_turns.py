"""The order in which tasks of all replicas begin, and the pace of jobs that have one."""

import contextlib
import math
from collections.abc import Sequence

import sqlalchemy as sa

from lookalike_ingest.adapters.sql_changes import WATCHING, lock_job, now_micros
from lookalike_ingest.adapters.sql_rows import Row, job_from_row
from lookalike_ingest.adapters.sql_tables import ITEMS, JOBS, TURNS
from lookalike_ingest.fairness import Turns, give_turns
from lookalike_ingest.job import UNFINISHED_STATES, Job, JobState
from lookalike_ingest.job_store import Stretch

_SECOND = 1_000_000
_STRETCHES_UNDONE = 2
"""So many may be submitted and not done: what waits for an encoder is not caught up in a rush."""
_LOOK_BACK = 50
"""So many stretches back it is looked whether they are."""


def choose_turns(connection: sa.Connection, job_id: str, kind: str) -> Turns:
    """Give turns to a job's tasks."""
    job = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one()
    older = sa.select(sa.func.count()).where(
        JOBS.c.tenant == job.tenant,
        JOBS.c.generation < job.generation,
        JOBS.c.state.in_(UNFINISHED_STATES - {JobState.PAUSED}),
        JOBS.c.state_reason != WATCHING,
    )
    last = sa.select(TURNS.c.last).where(TURNS.c.kind == kind)
    now = connection.execute(last).scalar_one_or_none() or 0
    return give_turns(now, connection.execute(older).scalar_one())


def begin_turn(connection: sa.Connection, kind: str, turn: int) -> None:
    """Move the clock of a kind of task on to a turn; it never goes back."""
    known = sa.select(TURNS.c.last).where(TURNS.c.kind == kind)
    if connection.execute(known).first() is None:
        with contextlib.suppress(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.insert(TURNS).values(kind=kind, last=turn))
    later = sa.update(TURNS).where(TURNS.c.kind == kind, TURNS.c.last < turn)
    connection.execute(later.values(last=turn))


def begin_pace(connection: sa.Connection, job_id: str, first: int) -> None:
    """Let a job's items be released one stretch after the other, from an ordinal on."""
    row = lock_job(connection, job_id)
    begin = max(row.release_at or 0, now_micros())
    _set(connection, job_id, released=first, releasing=None, release_at=begin)


def list_paced(connection: sa.Connection) -> Sequence[Job]:
    """Return the jobs of which more items are to be released, now or later."""
    query = sa.select(JOBS).where(
        JOBS.c.state.in_((JobState.RUNNING, JobState.WAITING)),
        JOBS.c.paced,
        JOBS.c.released < JOBS.c.found,
    )
    return [job_from_row(row) for row in connection.execute(query)]


def begin_release(connection: sa.Connection, job_id: str, max_items: int) -> Stretch | None:
    """Choose the next stretch of a job, the same one until `end_release`; None for not yet."""
    row = lock_job(connection, job_id)
    if not _may_release(connection, row, max_items):
        return None
    last = row.releasing
    if last is None:
        last = min(row.released + _stretch_items(row, max_items), row.found) - 1
        _set(connection, job_id, releasing=last)
    return Stretch(row.released, last, row.round)


def end_release(connection: sa.Connection, job_id: str, stretch: Stretch) -> None:
    """Note that a stretch was submitted; the next one's time comes according to the pace.

    Time that was lost is not made up for, up to a second of it.
    """
    row = lock_job(connection, job_id)
    if (row.released, row.releasing) != (stretch.first, stretch.last):
        return
    items = stretch.last - stretch.first + 1
    since = max(_due(row), now_micros() - _SECOND)
    due = since + _needed(row, items)
    _set(connection, job_id, released=stretch.last + 1, releasing=None, release_at=due)


def _may_release(connection: sa.Connection, row: Row, max_items: int) -> bool:
    if row.state not in {JobState.RUNNING, JobState.WAITING} or not row.paced:
        return False
    if row.released is None or row.released >= row.found or _due(row) > now_micros():
        return False
    items = _stretch_items(row, max_items)
    undone = sa.select(ITEMS.c.ordinal).where(
        ITEMS.c.job == row.id,
        ITEMS.c.ordinal >= row.released - _LOOK_BACK * items,
        ITEMS.c.ordinal < row.released - _STRETCHES_UNDONE * items,
        ITEMS.c.outcome.is_(None),
    )
    return connection.execute(undone.limit(1)).first() is None


def _due(row: Row) -> int:
    """Return when the next stretch may be released; now, where the clock was set back."""
    now = now_micros()
    last = 0 if row.releasing is None else row.releasing + 1 - row.released
    longest = _needed(row, max(last, _stretch_items(row, row.found))) + _SECOND
    due: int = row.release_at
    return due if due <= now + longest else now


def _needed(row: Row, items: int) -> int:
    """Return the microseconds that so many items take by the job's pace."""
    return math.ceil(items / job_from_row(row).spec.options.max_items_per_second * _SECOND)


def _stretch_items(row: Row, max_items: int) -> int:
    """Return how many items are released at a time: those of a second, one at least."""
    pace = job_from_row(row).spec.options.max_items_per_second
    return max(1, min(max_items, math.floor(pace)))


def _set(connection: sa.Connection, job_id: str, **values: object) -> None:
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**values))
