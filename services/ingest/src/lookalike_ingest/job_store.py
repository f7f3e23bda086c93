"""What the service needs of the place where jobs are kept: the truth about jobs, and only that.

Every change of a job is one transaction; an item's outcome is recorded once, and the counts move
in that same transaction, so they cannot differ from the rows they count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.fairness import Turns
from lookalike_ingest.job import (
    Item,
    ItemFailure,
    ItemResult,
    Job,
    JobSpec,
    JobState,
    ListedItem,
    NewItem,
    Outcome,
    VanishedItem,
)
from lookalike_ingest.problem import Problem


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be kept; id and digest make a repeated request recognisable."""

    id: str
    tenant: str
    request_id: str
    digest: str
    """Of everything that was asked for."""
    spec: JobSpec
    retry_of: str = ""
    """The id of the job whose failed and unreached items it takes."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing shows; nothing set: all."""

    states: Sequence[JobState] = ()
    collection: str = ""
    labels: Sequence[tuple[str, str | None]] = ()
    """All of them; None stands for any value."""


class SupersededError(Exception):
    """Another worker has begun the same task anew: whoever meets this leaves it alone."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Items of a job that one task is to work through."""

    first: int
    last: int
    round: int


class JobStore(Protocol):
    """Jobs, their items, outcomes and failures."""

    async def create(
        self, new: NewJob, *, max_unfinished: int, max_of_tenant: int | None = None
    ) -> Job:
        """Keep a job, or return the one that the same request made before.

        Raises AlreadyExistsError (same id, other digest) or OverloadedError.
        """

    async def find(self, tenant: str, job_id: str) -> Job | None:
        """Return a tenant's job, or None."""

    async def load(self, job_id: str) -> Job:
        """Return a job of any tenant; for the workers. Raises NotFoundError."""

    async def list_jobs(
        self,
        tenant: str,
        which: JobFilter,
        *,
        before_generation: int | None,
        limit: int,
    ) -> Sequence[Job]:
        """Return jobs, newest first."""

    async def list_unfinished(self) -> Sequence[Job]:
        """Return the jobs, of all tenants, that are not final, oldest first."""

    async def list_looks(self) -> Sequence[Job]:
        """Return the jobs, of all tenants, whose next look at their source is due."""

    async def list_retriable(self) -> Sequence[str]:
        """Return the ids of the jobs, of all tenants, of which items may be left to do."""

    async def begin_expansion(self, job_id: str) -> Job:
        """Set a job to work on finding its items, forgetting what a broken attempt found."""

    async def begin_look(self, job_id: str) -> Job:
        """Begin the next round of a job whose look at its source is due; else nothing changes."""

    async def add_items(
        self, job_id: str, items: Sequence[NewItem], expansion: int | None = None
    ) -> Job:
        """Keep found items in order. The second one with a key is folded (same place) or fails.

        Raises SupersededError when a later expansion than the given one has begun.
        """

    async def end_expansion(self, job_id: str, expansion: int | None = None) -> Job:
        """Set the total, unless it watches; a job without anything left to do becomes final.

        Raises SupersededError as above.
        """

    async def claim_batch(
        self, job_id: str, first: int, last: int, limits: BatchLimits
    ) -> Sequence[Item]:
        """Return the next items in [first, last] without an outcome, counting the attempt."""

    async def change_attempts(self, job_id: str, ordinals: Sequence[int], by: int) -> None:
        """Take a counted attempt back (-1), as when the items wait for others, or count it (1)."""

    async def record(
        self,
        job_id: str,
        results: Sequence[ItemResult],
        *,
        removed: int = 0,
        stored_bytes: int = 0,
    ) -> Job:
        """Record outcomes, each once. A final job stays.

        The last one makes the job final, unless it `needs_finish`: that is for `complete`.
        """

    async def complete(self, job_id: str, *, synced: bool = False) -> Job:
        """End a job of which all items are done; one that watches waits for its next look.

        `synced`: what vanished from its source was removed.
        """

    async def last_written(self, job_id: str) -> str | None:
        """Return the key of the item that a job wrote last; None when it wrote nothing."""

    async def list_vanished(
        self, job_id: str, *, after: tuple[int, int], limit: int
    ) -> Sequence[VanishedItem]:
        """Return items that earlier jobs over the same source stored, and this one did not find.

        They come by generation of the earlier job and ordinal, behind `after`. Items that jobs
        over another source stored as well are left out.
        """

    async def forget_vanished(self, job_id: str) -> None:
        """Let what vanished between two looks of a job be new if it returns."""

    async def set_waiting(self, job_id: str, reason: str) -> Job:
        """Say that the job waits for something; no effect on a final one."""

    async def set_running(self, job_id: str) -> Job:
        """Say that the job works again; no effect on a final one."""

    async def set_warnings(self, job_id: str, warnings: Sequence[str]) -> None:
        """Keep what a job's owner should know; no effect on a final one."""

    async def choose_turns(self, job_id: str, kind: str) -> Turns:
        """Give turns to a job's tasks of a kind; see `fairness`."""

    async def begin_turn(self, kind: str, turn: int) -> None:
        """Note that a task of a kind began, which had this turn."""

    async def begin_pace(self, job_id: str, first: int) -> None:
        """Let a job's items be released one stretch after the other, from an ordinal on."""

    async def list_paced(self) -> Sequence[Job]:
        """Return the jobs, of all tenants, of which more items are to be released."""

    async def begin_release(self, job_id: str, max_items: int) -> Stretch | None:
        """Choose the next items of a job, the same until `end_release`; None when it is not time.

        Nor is it while most of those released before have no outcome.
        """

    async def end_release(self, job_id: str, stretch: Stretch) -> None:
        """Note that a stretch has its task; the next one's time comes by the job's pace."""

    async def pause(self, job_id: str) -> Job:
        """Stop a job until it is resumed. Raises WrongJobStateError for a final one."""

    async def resume(self, job_id: str) -> Job:
        """Begin another round of a paused job. Raises WrongJobStateError for a final one."""

    async def end(self, job_id: str, state: JobState, problem: Problem | None = None) -> Job:
        """Make a job final; items without an outcome count as skipped. A final job stays."""

    async def list_failures(self, job_id: str, *, after: int, limit: int) -> Sequence[ItemFailure]:
        """Return failed items with a sequence above `after`, in the order of failing."""

    async def list_items(
        self,
        job_id: str,
        *,
        outcomes: Sequence[Outcome | None],
        after: int,
        limit: int,
    ) -> Sequence[ListedItem]:
        """Return items with an ordinal above `after`; no `outcomes` mean any, None means none."""

    async def first_pending(self, job_id: str) -> int | None:
        """Return the ordinal of the first item without an outcome; None when there is none."""

    async def has_left(self, job_id: str) -> bool:
        """Tell whether a final job has items that failed or were not reached."""

    async def must_list_again(self, job_id: str) -> bool:
        """Tell whether parts of a job's source could not be listed, or were not."""

    async def list_left(
        self, job_id: str, *, after: int, limit: int
    ) -> tuple[Sequence[NewItem], int]:
        """Return items that failed or were not reached, and the ordinal of the last one.

        One that failed because of its key comes with that failure; it is none to be tried again.
        """

    async def drop_done(self, job_id: str, items: Sequence[NewItem]) -> Sequence[NewItem]:
        """Return those of the found items that a job has not brought to a good outcome."""

    async def list_ended_before(self, moment: datetime) -> Sequence[str]:
        """Return the ids of jobs that ended before a moment, and that no sync needs."""

    async def delete(self, job_id: str) -> None:
        """Forget a job."""

    async def claim_chore(self, name: str, every: timedelta) -> bool:
        """Tell whether something to be done every so often is due, and this caller's to do."""
