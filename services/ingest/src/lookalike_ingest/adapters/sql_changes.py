"""The changes of the job store, each inside of one transaction that the caller opened."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from lookalike_common.errors import (
    AlreadyExistsError,
    NotFoundError,
    OverloadedError,
    WrongJobStateError,
)
from lookalike_ingest.adapters.sql_rows import (
    Row,
    item_from_row,
    job_from_row,
    segment_to_text,
    to_micros,
)
from lookalike_ingest.adapters.sql_tables import (
    CHORES,
    FAILURES,
    GENERATION_ROW,
    GENERATIONS,
    ITEMS,
    JOBS,
    LABELS,
    LOADS,
)
from lookalike_ingest.batches.batching import BatchLimits, choose_batch
from lookalike_ingest.job import (
    FINAL_STATES,
    UNFINISHED_STATES,
    Item,
    ItemProblem,
    ItemResult,
    Job,
    JobState,
)
from lookalike_ingest.job_store import NewJob
from lookalike_ingest.problem import Problem
from lookalike_ingest.spec_codec import source_digest, spec_to_text

WATCHING = "watching"
"""Why a job runs of which all items are done."""
_RETRY_AFTER = timedelta(seconds=5)
_CLOCKS_APART = 1_000_000
"""So many microseconds later another replica's clock may be; more, and a clock was set back."""


_OF_RESULTS = ("outcome", "written", "asset", "media_type")
"""Columns of an item that its result sets."""


def create_job(
    connection: sa.Connection, new: NewJob, max_unfinished: int, max_of_tenant: int | None
) -> Job:
    """Keep a job, or return the one that the same request made before."""
    last = lock_generation(connection)
    known = connection.execute(sa.select(JOBS).where(JOBS.c.id == new.id)).one_or_none()
    if known is not None:
        if known.digest != new.digest:
            raise AlreadyExistsError(
                "the request id was used for another job",
                field="job.request_id",
                resource_type="lookalike/Job",
                resource_name=f"jobs/{new.id}",
            )
        return job_from_row(known)
    _refuse_when_full(connection, max_unfinished)
    if max_of_tenant is not None:
        _refuse_when_full(connection, max_of_tenant, new.tenant)
    now = now_micros()
    connection.execute(
        sa.insert(JOBS).values(
            id=new.id,
            tenant=new.tenant,
            request_id=new.request_id,
            digest=new.digest,
            collection=new.spec.collection,
            spec=spec_to_text(new.spec),
            generation=next_generation(connection, last, now),
            state=JobState.PENDING,
            created_at=now,
            retry_of=new.retry_of,
            source=source_digest(new.spec),
            paced=new.spec.options.max_items_per_second > 0,
            watches=new.spec.options.watch_interval is not None,
            dry_run=new.spec.options.dry_run,
        )
    )
    if new.spec.labels:
        rows = [{"job": new.id, "key": k, "value": v} for k, v in new.spec.labels.items()]
        connection.execute(sa.insert(LABELS), rows)
    return job_from_row(lock_job(connection, new.id))


def claim_batch(
    connection: sa.Connection, job_id: str, first: int, last: int, limits: BatchLimits
) -> Sequence[Item]:
    """Choose the next items without an outcome, and count the attempt before it begins."""
    row = lock_job(connection, job_id)
    if is_final(row) or row.state == JobState.PAUSED:
        return ()
    pending = connection.execute(
        sa.select(ITEMS)
        .where(
            ITEMS.c.job == job_id,
            ITEMS.c.ordinal.between(first, last),
            ITEMS.c.outcome.is_(None),
        )
        .order_by(ITEMS.c.ordinal)
        .limit(limits.items)
    )
    batch = choose_batch([item_from_row(row) for row in pending], limits)
    change_attempts(connection, job_id, [item.ordinal for item in batch], 1)
    return [replace(item, attempts=item.attempts + 1) for item in batch]


def change_attempts(
    connection: sa.Connection, job_id: str, ordinals: Sequence[int], change: int
) -> None:
    """Count an attempt of some items, or take it back."""
    connection.execute(
        sa.update(ITEMS)
        .where(ITEMS.c.job == job_id, ITEMS.c.ordinal.in_(ordinals))
        .values(attempts=ITEMS.c.attempts + change)
    )


def record(
    connection: sa.Connection,
    job_id: str,
    results: Sequence[ItemResult],
    removed: int,
    stored_bytes: int,
) -> Job:
    """Record outcomes, each once, and move the counts by exactly those that are new."""
    row = lock_job(connection, job_id)
    if is_final(row):
        return job_from_row(row)
    fresh = _set_outcomes(connection, job_id, results)
    last = max((each.ordinal for each in fresh if each.written), default=None)
    moved = Counter(str(each.outcome) for each in fresh)
    update_job(
        connection,
        job_id,
        **{outcome: JOBS.c[outcome] + count for outcome, count in moved.items()},
        written=JOBS.c.written + sum(each.written for each in fresh),
        removed=JOBS.c.removed + removed,
        stored_bytes=JOBS.c.stored_bytes + stored_bytes,
        media_types=_add_media_types(row.media_types, fresh),
        **({} if last is None else {"last_written": last}),
        **({} if row.state == JobState.PAUSED else {"state": JobState.RUNNING, "state_reason": ""}),
    )
    return settle(connection, job_id)


def set_warnings(connection: sa.Connection, job_id: str, warnings: Sequence[str]) -> Job:
    """Keep what a job's owner should know."""
    row = lock_job(connection, job_id)
    kept = json.dumps(list(warnings))
    if is_final(row) or row.warnings == kept:
        return job_from_row(row)
    return update_job(connection, job_id, warnings=kept)


def _add_media_types(known: str, results: Sequence[ItemResult]) -> str:
    counts = Counter(json.loads(known))
    counts.update(each.media_type for each in results if each.media_type)
    return json.dumps(counts)


def set_state(connection: sa.Connection, job_id: str, state: JobState, reason: str) -> Job:
    """Move a job between RUNNING and WAITING; a final or paused one stays.

    Nothing new is no change.
    """
    row = lock_job(connection, job_id)
    if is_final(row) or row.state == JobState.PAUSED:
        return job_from_row(row)
    if (row.state, row.state_reason) == (state, reason):
        return job_from_row(row)
    return update_job(connection, job_id, state=state, state_reason=reason)


def pause_job(connection: sa.Connection, job_id: str) -> Job:
    """Stop a job until it is resumed."""
    row = _lock_unfinished(connection, job_id)
    if row.state == JobState.PAUSED:
        return job_from_row(row)
    return update_job(connection, job_id, state=JobState.PAUSED, state_reason="")


def resume_job(connection: sa.Connection, job_id: str) -> Job:
    """Begin another round of a paused job, whose tasks are other ones than those before."""
    row = _lock_unfinished(connection, job_id)
    if row.state != JobState.PAUSED:
        return job_from_row(row)
    state = JobState.PENDING if row.started_at is None else JobState.RUNNING
    update_job(connection, job_id, state=state, round=row.round + 1)
    return settle(connection, job_id)


def end_job(
    connection: sa.Connection, job_id: str, state: JobState, problem: Problem | None
) -> Job:
    """Make a job final; items without an outcome count as skipped."""
    row = lock_job(connection, job_id)
    if is_final(row):
        return job_from_row(row)
    ended_at = max(now_micros(), row.started_at or row.created_at)  # the clock may be set back
    values: dict[str, object] = {"state": state, "state_reason": "", "ended_at": ended_at}
    if problem is not None:
        values["problem"] = problem.to_text()
    total = row.found if row.total is None and row.watches else row.total
    if total is not None:
        others = row.created + row.updated + row.unchanged + row.failed
        values |= {"total": total, "skipped": total - others}
    return update_job(connection, job_id, **values)


def delete_job(connection: sa.Connection, job_id: str) -> None:
    """Forget a job."""
    for table in (ITEMS, FAILURES, LABELS, LOADS):
        connection.execute(sa.delete(table).where(table.c.job == job_id))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))


def claim_chore(connection: sa.Connection, name: str, every: timedelta) -> bool:
    """Note that a chore is done now, unless it was done lately."""
    now = now_micros()
    interval = every // timedelta(microseconds=1)
    jumped = CHORES.c.done_at > now + interval + _CLOCKS_APART
    due = sa.or_(CHORES.c.done_at <= now - interval, jumped)
    changed = connection.execute(
        sa.update(CHORES).where(CHORES.c.name == name, due).values(done_at=now)
    )
    if changed.rowcount:
        return True
    if connection.execute(sa.select(CHORES).where(CHORES.c.name == name)).one_or_none():
        return False
    connection.execute(sa.insert(CHORES).values(name=name, done_at=now))
    return True


def lock_job(connection: sa.Connection, job_id: str) -> Row:
    """Return a job's row, locked where the database locks rows. Raises NotFoundError."""
    query = sa.select(JOBS).where(JOBS.c.id == job_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(
            "no such job", resource_type="lookalike/Job", resource_name=f"jobs/{job_id}"
        )
    return row


def now_micros() -> int:
    """Return the time in microseconds since 1970."""
    return to_micros(datetime.now(UTC))


def update_job(connection: sa.Connection, job_id: str, **values: object) -> Job:
    """Set columns to values or expressions, and raise the revision."""
    connection.execute(
        sa.update(JOBS).where(JOBS.c.id == job_id).values(revision=JOBS.c.revision + 1, **values)
    )
    return job_from_row(lock_job(connection, job_id))


def settle(connection: sa.Connection, job_id: str) -> Job:
    """End a job whose first failure was to stop it, or whose last item is done.

    One that has something to see to after that stays as it is: see `complete_job`.
    """
    job = job_from_row(lock_job(connection, job_id))
    if job.state.final or job.state is JobState.PAUSED:
        return job
    if job.counts.failed and job.spec.options.stop_on_error:
        return end_job(connection, job_id, JobState.FAILED, _first_problem(connection, job_id))
    return job if not job.complete or job.needs_finish else complete_job(connection, job_id)


def complete_job(connection: sa.Connection, job_id: str, *, synced: bool = False) -> Job:
    """End a job of which all items are done; one that watches its source waits for more."""
    row = lock_job(connection, job_id)
    job = job_from_row(row)
    if job.state.final or job.state is JobState.PAUSED or not job.complete:
        return job
    if synced:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(synced=True))
    interval = job.spec.options.watch_interval
    if interval is not None:
        due = now_micros() + round(interval.total_seconds() * 1_000_000)
        return update_job(
            connection, job_id, state=JobState.RUNNING, state_reason=WATCHING, look_at=due
        )
    failed = job.counts.failed > 0
    state = JobState.SUCCEEDED_WITH_FAILURES if failed else JobState.SUCCEEDED
    return end_job(connection, job_id, state, None)


def _first_problem(connection: sa.Connection, job_id: str) -> Problem:
    query = (
        sa.select(FAILURES.c.problem)
        .where(FAILURES.c.job == job_id)
        .order_by(FAILURES.c.sequence)
        .limit(1)
    )
    return Problem.from_text(connection.execute(query).scalar_one())


def _set_outcomes(
    connection: sa.Connection, job_id: str, results: Sequence[ItemResult]
) -> Sequence[ItemResult]:
    """Give items their outcomes unless they have one; return those that were new.

    Nobody else comes in between: the caller has locked the job. All of a batch in two statements,
    for one an item was most of what durability costs.
    """
    waiting = set(
        connection.scalars(
            sa.select(ITEMS.c.ordinal).where(
                ITEMS.c.job == job_id,
                ITEMS.c.ordinal.in_([each.ordinal for each in results]),
                ITEMS.c.outcome.is_(None),
            )
        )
    )
    fresh = list({each.ordinal: each for each in results if each.ordinal in waiting}.values())
    if not fresh:
        return fresh
    connection.execute(
        sa.update(ITEMS)
        .where(ITEMS.c.job == job_id, ITEMS.c.ordinal == sa.bindparam("at"))
        .values({name: sa.bindparam(f"new_{name}") for name in _OF_RESULTS}),
        [
            {
                "at": each.ordinal,
                "new_outcome": each.outcome,
                "new_written": each.written,
                "new_asset": each.asset or (each.problem.asset if each.problem else ""),
                "new_media_type": each.media_type,
            }
            for each in fresh
        ],
    )
    for each in fresh:
        if each.problem is not None:
            add_failure(connection, job_id, each.ordinal, each.problem)
    return fresh


def add_failure(connection: sa.Connection, job_id: str, ordinal: int, problem: ItemProblem) -> None:
    """Keep why an item failed."""
    item = connection.execute(
        sa.select(ITEMS.c.key, ITEMS.c.source_uri, ITEMS.c.attempts).where(
            ITEMS.c.job == job_id, ITEMS.c.ordinal == ordinal
        )
    ).one()
    connection.execute(
        sa.insert(FAILURES).values(
            job=job_id,
            ordinal=ordinal,
            item=item.key,
            source_uri=item.source_uri,
            asset=problem.asset,
            line=problem.line,
            segment=segment_to_text(problem.segment),
            step=problem.step,
            problem=problem.problem.to_text(),
            attempts=max(1, item.attempts),
            failed_at=now_micros(),
        )
    )


def lock_generation(connection: sa.Connection) -> int:
    """Return the last generation; nobody else creates a job until this transaction ends."""
    query = sa.select(GENERATIONS.c.last).where(GENERATIONS.c.id == GENERATION_ROW)
    last: int = connection.execute(query.with_for_update()).scalar_one()
    return last


def next_generation(connection: sa.Connection, last: int, now: int) -> int:
    """Take the next generation behind `last`; they rise, whatever the clock does."""
    generation = max(now, last + 1)
    connection.execute(
        sa.update(GENERATIONS).where(GENERATIONS.c.id == GENERATION_ROW).values(last=generation)
    )
    return generation


def _refuse_when_full(
    connection: sa.Connection, max_unfinished: int, tenant: str | None = None
) -> None:
    query = sa.select(sa.func.count()).where(JOBS.c.state.in_(UNFINISHED_STATES))
    if tenant is not None:
        query = query.where(JOBS.c.tenant == tenant)
    if connection.execute(query).scalar_one() >= max_unfinished:
        raise OverloadedError(
            f"{max_unfinished} jobs are waiting or running; that is the limit",
            retry_after=_RETRY_AFTER,
        )


def _lock_unfinished(connection: sa.Connection, job_id: str) -> Row:
    row = lock_job(connection, job_id)
    if is_final(row):
        raise WrongJobStateError(
            "the job is final", resource_type="lookalike/Job", resource_name=f"jobs/{job_id}"
        )
    return row


def is_final(row: Row) -> bool:
    """Tell whether a job never moves again."""
    return row.state in FINAL_STATES
