"""The changes of the job store, each inside of one transaction that the caller opened."""

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
from lookalike_ingest.adapters.sql_queries import fold_of
from lookalike_ingest.adapters.sql_rows import (
    Row,
    attributes_to_text,
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
)
from lookalike_ingest.batching import BatchLimits, choose_batch
from lookalike_ingest.job import (
    FINAL_STATES,
    UNFINISHED_STATES,
    Item,
    ItemProblem,
    ItemResult,
    Job,
    JobState,
    NewItem,
    Outcome,
)
from lookalike_ingest.job_store import NewJob, SupersededError
from lookalike_ingest.places import place_to_text
from lookalike_ingest.problem import Problem
from lookalike_ingest.spec_codec import spec_to_text

_RETRY_AFTER = timedelta(seconds=5)


def create_job(connection: sa.Connection, new: NewJob, max_unfinished: int) -> Job:
    """Keep a job, or return the one that the same request made before."""
    last = _lock_generation(connection)
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
    now = now_micros()
    connection.execute(
        sa.insert(JOBS).values(
            id=new.id,
            tenant=new.tenant,
            request_id=new.request_id,
            digest=new.digest,
            collection=new.spec.collection,
            spec=spec_to_text(new.spec),
            generation=_next_generation(connection, last, now),
            state=JobState.PENDING,
            created_at=now,
            retry_of=new.retry_of,
        )
    )
    if new.spec.labels:
        rows = [{"job": new.id, "key": k, "value": v} for k, v in new.spec.labels.items()]
        connection.execute(sa.insert(LABELS), rows)
    return job_from_row(lock_job(connection, new.id))


def begin_expansion(connection: sa.Connection, job_id: str) -> Job:
    """Set a job to work on finding its items, forgetting what a broken attempt found."""
    row = lock_job(connection, job_id)
    if _is_final(row) or row.state == JobState.PAUSED or row.total is not None:
        return job_from_row(row)
    for table in (ITEMS, FAILURES):
        connection.execute(sa.delete(table).where(table.c.job == job_id))
    return _update(
        connection,
        job_id,
        state=JobState.RUNNING,
        started_at=row.started_at or now_micros(),
        found=0,
        expansion=row.expansion + 1,
    )


def add_items(
    connection: sa.Connection, job_id: str, items: Sequence[NewItem], expansion: int | None
) -> Job:
    """Keep found items in order; the second one with a key is folded or fails."""
    row = _lock_expansion(connection, job_id, expansion)
    if _is_final(row) or not items:
        return job_from_row(row)
    unique = _fold_duplicates(connection, job_id, items)
    values = [
        {
            "job": job_id,
            "ordinal": row.found + index,
            "fold": fold,
            "key": item.key,
            "source_uri": item.source_uri,
            "place": place_to_text(item.place),
            "size": item.size,
            "attributes": attributes_to_text(item.attributes),
            "outcome": item.outcome,
            "listed": item.outcome is not Outcome.FAILED or fold is None,
        }
        for index, (fold, item) in enumerate(unique)
    ]
    connection.execute(sa.insert(ITEMS), values)
    for index, (_, item) in enumerate(unique):
        if item.problem is not None:
            _add_failure(connection, job_id, row.found + index, item.problem)
    return _update(connection, job_id, found=row.found + len(items))


def end_expansion(connection: sa.Connection, job_id: str, expansion: int | None) -> Job:
    """Set the total and count what found its outcome on the way."""
    row = _lock_expansion(connection, job_id, expansion)
    if _is_final(row) or row.total is not None:
        return job_from_row(row)
    grouped = connection.execute(
        sa.select(ITEMS.c.outcome, sa.func.count())
        .where(ITEMS.c.job == job_id, ITEMS.c.outcome.is_not(None))
        .group_by(ITEMS.c.outcome)
    )
    counts = {outcome: count for outcome, count in grouped if outcome is not None}
    _update(connection, job_id, total=row.found, **counts)
    return _settle(connection, job_id)


def claim_batch(
    connection: sa.Connection, job_id: str, first: int, last: int, limits: BatchLimits
) -> Sequence[Item]:
    """Choose the next items without an outcome, and count the attempt before it begins."""
    row = lock_job(connection, job_id)
    if _is_final(row) or row.state == JobState.PAUSED:
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
    connection: sa.Connection, job_id: str, results: Sequence[ItemResult], removed: int
) -> Job:
    """Record outcomes, each once, and move the counts by exactly those that are new."""
    row = lock_job(connection, job_id)
    if _is_final(row):
        return job_from_row(row)
    fresh = [each for each in results if _set_outcome(connection, job_id, each)]
    moved = Counter(str(each.outcome) for each in fresh)
    _update(
        connection,
        job_id,
        **{outcome: JOBS.c[outcome] + count for outcome, count in moved.items()},
        written=JOBS.c.written + sum(each.written for each in fresh),
        removed=JOBS.c.removed + removed,
        **({} if row.state == JobState.PAUSED else {"state": JobState.RUNNING, "state_reason": ""}),
    )
    return _settle(connection, job_id)


def set_state(connection: sa.Connection, job_id: str, state: JobState, reason: str) -> Job:
    """Move a job between RUNNING and WAITING; a final or paused one stays.

    Nothing new is no change.
    """
    row = lock_job(connection, job_id)
    if _is_final(row) or row.state == JobState.PAUSED:
        return job_from_row(row)
    if (row.state, row.state_reason) == (state, reason):
        return job_from_row(row)
    return _update(connection, job_id, state=state, state_reason=reason)


def pause_job(connection: sa.Connection, job_id: str) -> Job:
    """Stop a job until it is resumed."""
    row = _lock_unfinished(connection, job_id)
    if row.state == JobState.PAUSED:
        return job_from_row(row)
    return _update(connection, job_id, state=JobState.PAUSED, state_reason="")


def resume_job(connection: sa.Connection, job_id: str) -> Job:
    """Begin another round of a paused job, whose tasks are other ones than those before."""
    row = _lock_unfinished(connection, job_id)
    if row.state != JobState.PAUSED:
        return job_from_row(row)
    state = JobState.PENDING if row.started_at is None else JobState.RUNNING
    _update(connection, job_id, state=state, round=row.round + 1)
    return _settle(connection, job_id)


def end_job(
    connection: sa.Connection, job_id: str, state: JobState, problem: Problem | None
) -> Job:
    """Make a job final; items without an outcome count as skipped."""
    row = lock_job(connection, job_id)
    if _is_final(row):
        return job_from_row(row)
    values: dict[str, object] = {"state": state, "state_reason": "", "ended_at": now_micros()}
    if problem is not None:
        values["problem"] = problem.to_text()
    if row.total is not None:
        others = row.created + row.updated + row.unchanged + row.failed
        values["skipped"] = row.total - others
    return _update(connection, job_id, **values)


def delete_job(connection: sa.Connection, job_id: str) -> None:
    """Forget a job."""
    for table in (ITEMS, FAILURES, LABELS):
        connection.execute(sa.delete(table).where(table.c.job == job_id))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))


def claim_chore(connection: sa.Connection, name: str, every: timedelta) -> bool:
    """Note that a chore is done now, unless it was done lately."""
    now = now_micros()
    since = now - every // timedelta(microseconds=1)
    due = sa.or_(
        CHORES.c.done_at <= since, CHORES.c.done_at > now
    )  # later than now: a clock jumped
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


def _lock_expansion(connection: sa.Connection, job_id: str, expansion: int | None) -> Row:
    row = lock_job(connection, job_id)
    if expansion is not None and row.expansion != expansion:
        raise SupersededError(f"expansion {expansion} of job {job_id}")
    return row


def now_micros() -> int:
    """Return the time in microseconds since 1970."""
    return to_micros(datetime.now(UTC))


def _update(connection: sa.Connection, job_id: str, **values: object) -> Job:
    """Set columns to values or expressions, and raise the revision."""
    connection.execute(
        sa.update(JOBS).where(JOBS.c.id == job_id).values(revision=JOBS.c.revision + 1, **values)
    )
    return job_from_row(lock_job(connection, job_id))


def _settle(connection: sa.Connection, job_id: str) -> Job:
    """End a job whose last item is done, or whose first failure was to stop it."""
    job = job_from_row(lock_job(connection, job_id))
    if job.counts.failed and job.spec.options.stop_on_error:
        return end_job(connection, job_id, JobState.FAILED, _first_problem(connection, job_id))
    if job.counts.total is None or job.counts.done < job.counts.total:
        return job
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


def _set_outcome(connection: sa.Connection, job_id: str, result: ItemResult) -> bool:
    """Give an item its outcome unless it has one; tell whether it was new."""
    changed = connection.execute(
        sa.update(ITEMS)
        .where(
            ITEMS.c.job == job_id,
            ITEMS.c.ordinal == result.ordinal,
            ITEMS.c.outcome.is_(None),
        )
        .values(
            outcome=result.outcome,
            written=result.written,
            asset=result.asset or (result.problem.asset if result.problem else ""),
            media_type=result.media_type,
        )
    )
    fresh = changed.rowcount == 1
    if fresh and result.problem is not None:
        _add_failure(connection, job_id, result.ordinal, result.problem)
    return fresh


def _add_failure(
    connection: sa.Connection, job_id: str, ordinal: int, problem: ItemProblem
) -> None:
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


def _fold_duplicates(
    connection: sa.Connection, job_id: str, items: Sequence[NewItem]
) -> Sequence[tuple[bytes | None, NewItem]]:
    """Pair each item with what makes it unique in its job; None for a second one with its key."""
    folds = [fold_of(item.key) for item in items]
    rows = connection.execute(
        sa.select(ITEMS.c.fold, ITEMS.c.place).where(ITEMS.c.job == job_id, ITEMS.c.fold.in_(folds))
    )
    known: dict[bytes, str] = {row.fold: row.place for row in rows}
    unique: list[tuple[bytes | None, NewItem]] = []
    for fold, item in zip(folds, items, strict=True):
        place = place_to_text(item.place)
        if fold in known:
            unique.append((None, _second_of_its_key(item, same_place=known[fold] == place)))
        else:
            known[fold] = place
            unique.append((fold, item))
    return unique


def _second_of_its_key(item: NewItem, *, same_place: bool) -> NewItem:
    if same_place:
        return replace(item, outcome=Outcome.SKIPPED, problem=None)
    problem = AlreadyExistsError(
        f"another item of this job has the key {item.key!r}; give items keys of their own, or "
        "ingest the sources by jobs of their own"
    )
    return replace(item, outcome=Outcome.FAILED, problem=ItemProblem("fetch", Problem.of(problem)))


def _lock_generation(connection: sa.Connection) -> int:
    """Return the last generation; nobody else creates a job until this transaction ends."""
    query = sa.select(GENERATIONS.c.last).where(GENERATIONS.c.id == GENERATION_ROW)
    last: int = connection.execute(query.with_for_update()).scalar_one()
    return last


def _next_generation(connection: sa.Connection, last: int, now: int) -> int:
    generation = max(now, last + 1)
    connection.execute(
        sa.update(GENERATIONS).where(GENERATIONS.c.id == GENERATION_ROW).values(last=generation)
    )
    return generation


def _refuse_when_full(connection: sa.Connection, max_unfinished: int) -> None:
    query = sa.select(sa.func.count()).where(JOBS.c.state.in_(UNFINISHED_STATES))
    if connection.execute(query).scalar_one() >= max_unfinished:
        raise OverloadedError(
            f"{max_unfinished} jobs are waiting or running; that is the limit",
            retry_after=_RETRY_AFTER,
        )


def _lock_unfinished(connection: sa.Connection, job_id: str) -> Row:
    row = lock_job(connection, job_id)
    if _is_final(row):
        raise WrongJobStateError(
            "the job is final", resource_type="lookalike/Job", resource_name=f"jobs/{job_id}"
        )
    return row


def _is_final(row: Row) -> bool:
    return row.state in FINAL_STATES
