"""What the service needs of a durable engine: run tasks to their end, across restarts.

An engine knows nothing of jobs but their ids: what a task has to do, and what is done already,
stands in the job store. A handler may run again from its start after a crash; its finished steps
answer at once, from what the engine kept.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of durable work. The same task submitted twice is one task."""

    kind: str
    """Which handler does it, and in which queue it waits."""
    job: str
    """The job that it is a part of."""
    first: int = 0
    """First item, for kinds that work on items."""
    last: int = 0
    """Last item."""
    round: int = 0
    """The round of the job that it belongs to."""
    turn: int = 1
    """Of the tasks of its kind that wait, those with the lowest turn go first; at least 1."""

    @property
    def key(self) -> str:
        """What makes it the same task."""
        return f"{self.job}:{self.kind}:{self.first}:{self.round}"


class Steps(Protocol):
    """How a handler divides its work."""

    async def run(self, name: str, step: Callable[[], Awaitable[int]]) -> int:
        """Run a step, or return the number that it gave before the crash."""


Handler: TypeAlias = Callable[[Task, Steps], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of task: who does it, and how many at a time."""

    handler: Handler
    concurrency: int


class JobEngine(Protocol):
    """Runs tasks."""

    async def start(self, kinds: Mapping[str, Work]) -> None:
        """Begin to work, first on what a stop or a crash left unfinished."""

    async def submit(self, task: Task) -> None:
        """Accept a task for good. The lowest turn goes first, over all jobs."""

    async def cancel(self, job: str) -> None:
        """Drop a job's tasks that have not begun; those that run find the job final."""

    async def forget(self, job: str) -> None:
        """Remove what is kept about a job's tasks."""

    async def stop(self) -> None:
        """Stop working; unfinished tasks go on at the next start."""
