"""What the service needs of the place where jobs are kept: the truth about jobs, and only that.

Every change of a job is one transaction; an item's outcome is recorded once, and the counts move
in that same transaction, so they cannot differ from the rows they count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lookalike_ingest.batching import BatchLimits
from lookalike_ingest.job import (
    Item,
    ItemFailure,
    ItemResult,
    Job,
    JobSpec,
    JobState,
    NewItem,
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


class JobStore(Protocol):
    """Jobs, their items, outcomes and failures."""

    async def create(self, new: NewJob, *, max_unfinished: int) -> Job:
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
        *,
        states: Sequence[JobState],
        collection: str,
        before_generation: int | None,
        limit: int,
    ) -> Sequence[Job]:
        """Return jobs, newest first; empty `states` and `collection` mean any."""

    async def list_unfinished(self) -> Sequence[str]:
        """Return the ids of the jobs, of all tenants, that are not final."""

    async def begin_expansion(self, job_id: str) -> Job:
        """Set a job to work on finding its items, forgetting what a broken attempt found."""

    async def add_items(self, job_id: str, items: Sequence[NewItem]) -> Job:
        """Keep found items in order. The second one with a key is folded (same place) or fails."""

    async def end_expansion(self, job_id: str) -> Job:
        """Set the total; a job without anything left to do becomes final."""

    async def claim_batch(
        self, job_id: str, first: int, last: int, limits: BatchLimits
    ) -> Sequence[Item]:
        """Return the next items in [first, last] without an outcome, counting the attempt."""

    async def change_attempts(self, job_id: str, ordinals: Sequence[int], by: int) -> None:
        """Take a counted attempt back (-1), as when the items wait for others, or count it (1)."""

    async def record(self, job_id: str, results: Sequence[ItemResult], *, removed: int = 0) -> Job:
        """Record outcomes, each once; the last one makes the job final. A final job stays."""

    async def set_waiting(self, job_id: str, reason: str) -> Job:
        """Say that the job waits for something; no effect on a final one."""

    async def set_running(self, job_id: str) -> Job:
        """Say that the job works again; no effect on a final one."""

    async def end(self, job_id: str, state: JobState, problem: Problem | None = None) -> Job:
        """Make a job final; items without an outcome count as skipped. A final job stays."""

    async def list_failures(self, job_id: str, *, after: int, limit: int) -> Sequence[ItemFailure]:
        """Return failed items with a sequence above `after`, in the order of failing."""

    async def list_ended_before(self, moment: datetime) -> Sequence[str]:
        """Return the ids of jobs that ended before a moment."""

    async def delete(self, job_id: str) -> None:
        """Forget a job."""
