"""How the job store learns which items there are, each change inside of one transaction."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from lookalike_common.errors import AlreadyExistsError
from lookalike_ingest.adapters.sql_changes import (
    add_failure,
    is_final,
    lock_generation,
    lock_job,
    next_generation,
    now_micros,
    settle,
    update_job,
)
from lookalike_ingest.adapters.sql_queries import fold_of
from lookalike_ingest.adapters.sql_rows import Row, attributes_to_text, job_from_row
from lookalike_ingest.adapters.sql_tables import FAILURES, ITEMS, JOBS
from lookalike_ingest.job import ItemProblem, Job, JobState, NewItem, Outcome
from lookalike_ingest.job_store import SupersededError
from lookalike_ingest.places import line_of, place_to_text
from lookalike_ingest.problem import Problem

Unique = tuple[bytes | None, NewItem]
"""An item with what makes it unique in its job; None for a second one with its key."""


def begin_expansion(connection: sa.Connection, job_id: str) -> Job:
    """Set a job to work on finding its items, forgetting what a broken attempt found.

    What a job found that watches its source, it knows by then: nothing is found twice.
    """
    row = lock_job(connection, job_id)
    if is_final(row) or row.state == JobState.PAUSED or row.listed:
        return job_from_row(row)
    values: dict[str, object] = {"expansion": row.expansion + 1}
    if not row.watches:
        for table in (ITEMS, FAILURES):
            connection.execute(sa.delete(table).where(table.c.job == job_id))
        values["found"] = 0
    started = row.started_at or max(now_micros(), row.created_at)
    return update_job(connection, job_id, state=JobState.RUNNING, started_at=started, **values)


def begin_look(connection: sa.Connection, job_id: str) -> Job:
    """Begin another round of a job whose next look at its source is due.

    Its entities get a generation of their own, so that they replace those of the looks before.
    """
    last = lock_generation(connection)
    row = lock_job(connection, job_id)
    now = now_micros()
    if not _is_due(row, now):
        return job_from_row(row)
    return update_job(
        connection,
        job_id,
        generation=next_generation(connection, last, now),
        round=row.round + 1,
        look=row.look + 1,
        listed=False,
        unlisted=0,
        look_at=None,
    )


def add_items(
    connection: sa.Connection, job_id: str, items: Sequence[NewItem], expansion: int | None
) -> Job:
    """Keep found items in order; the second one with a key is folded or fails."""
    row = _lock_expansion(connection, job_id, expansion)
    if is_final(row) or not items:
        return job_from_row(row)
    unlisted = row.unlisted + sum(map(_was_refused, items))
    find = _find_news if row.watches else _fold_duplicates
    unique = find(connection, row, items)
    values = [
        {
            "job": job_id,
            "ordinal": row.found + index,
            "fold": fold,
            "key": item.key,
            "source_uri": item.source_uri,
            "place": place_to_text(item.place),
            "version": item.version,
            "seen": row.look,
            "size": item.size,
            "attributes": attributes_to_text(item.attributes),
            "outcome": item.outcome,
            "listed": not _was_refused(item),
        }
        for index, (fold, item) in enumerate(unique)
    ]
    if values:
        connection.execute(sa.insert(ITEMS), values)
    for index, (_, item) in enumerate(unique):
        if item.problem is not None:
            add_failure(connection, job_id, row.found + index, item.problem)
    return update_job(connection, job_id, found=row.found + len(values), unlisted=unlisted)


def end_expansion(connection: sa.Connection, job_id: str, expansion: int | None) -> Job:
    """Set the total and count what found its outcome on the way."""
    row = _lock_expansion(connection, job_id, expansion)
    if is_final(row) or row.listed:
        return job_from_row(row)
    grouped = connection.execute(
        sa.select(ITEMS.c.outcome, sa.func.count())
        .where(
            ITEMS.c.job == job_id,
            ITEMS.c.ordinal >= row.counted,
            ITEMS.c.outcome.is_not(None),
        )
        .group_by(ITEMS.c.outcome)
    )
    counts = {each: JOBS.c[each] + count for each, count in grouped if each is not None}
    total = None if row.watches else row.found
    update_job(connection, job_id, listed=True, total=total, counted=row.found, **counts)
    return settle(connection, job_id)


def _lock_expansion(connection: sa.Connection, job_id: str, expansion: int | None) -> Row:
    row = lock_job(connection, job_id)
    if expansion is not None and row.expansion != expansion:
        raise SupersededError(f"expansion {expansion} of job {job_id}")
    return row


def _is_due(row: Row, now: int) -> bool:
    return (
        row.state == JobState.RUNNING
        and row.listed
        and row.look_at is not None
        and row.look_at <= now
    )


def _fold_duplicates(
    connection: sa.Connection, job: Row, items: Sequence[NewItem]
) -> Sequence[Unique]:
    """Fold a second item with a key where it lies in the same place; elsewhere it fails."""
    folds = [fold_of(item.key) for item in items]
    rows = connection.execute(
        sa.select(ITEMS.c.fold, ITEMS.c.place).where(ITEMS.c.job == job.id, ITEMS.c.fold.in_(folds))
    )
    known: dict[bytes, str] = {row.fold: row.place for row in rows}
    unique: list[Unique] = []
    for fold, item in zip(folds, items, strict=True):
        place = place_to_text(item.place)
        if fold not in known:
            known[fold] = place
            unique.append((fold, item))
        elif known[fold] == place:
            unique.append((None, replace(item, outcome=Outcome.SKIPPED, problem=None)))
        else:
            unique.append((None, _of_a_taken_key(item)))
    return unique


def _find_news(connection: sa.Connection, job: Row, items: Sequence[NewItem]) -> Sequence[Unique]:
    """Leave out what an earlier look found in the same version; note that it is still there."""
    wanted = {fold_of(item.key): item for item in items}
    wanted |= {_fold_in_place(item): item for item in items}
    rows = connection.execute(
        sa.select(ITEMS).where(ITEMS.c.job == job.id, ITEMS.c.fold.in_(wanted))
    )
    known = {row.fold: (row.place, row.version, row.seen) for row in rows}
    unique: list[Unique] = []
    same: list[bytes] = []
    changed: list[bytes] = []
    for item in items:
        fold, second, place = fold_of(item.key), _fold_in_place(item), place_to_text(item.place)
        before = known.get(fold)
        if before is not None and before[2] == job.look:
            if before[0] != place and second not in known:
                unique.append((second, _of_a_taken_key(item)))
                known[second] = (place, item.version, job.look)
            continue
        known[fold] = (place, item.version, job.look)
        if before is not None and before[:2] == (place, item.version):
            same.append(fold)
            continue
        if before is not None:
            changed.append(fold)
        unique.append((fold, item))
    for folds, values in ((same, {"seen": job.look}), (changed, {"fold": None})):
        found = sa.and_(ITEMS.c.job == job.id, ITEMS.c.fold.in_(folds))
        connection.execute(sa.update(ITEMS).where(found).values(**values))
    return unique


def _was_refused(item: NewItem) -> bool:
    """Tell whether listing failed; a second item with a key was listed all right."""
    if item.problem is None:
        return item.outcome is Outcome.FAILED
    return item.problem.problem.reason != AlreadyExistsError.reason


def _fold_in_place(item: NewItem) -> bytes:
    """Return what makes a second item with a key unique in a job that watches its source."""
    return fold_of(f"{item.key}\0{place_to_text(item.place)}")


def _of_a_taken_key(item: NewItem) -> NewItem:
    problem = AlreadyExistsError(
        f"another item of this job has the key {item.key!r}; give items keys of their own, or "
        "ingest the sources by jobs of their own"
    )
    kept = ItemProblem("fetch", Problem.of(problem), line=line_of(item.place))
    return replace(item, outcome=Outcome.FAILED, problem=kept)
