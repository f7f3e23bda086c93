"""Whose turn it is: start-time fair queueing between tenants, and between the jobs of one.

Each kind of task has a virtual clock, which stands at the turn of the task that began last. A job's
tasks are given turns ahead of it when they are submitted: the first one behind the tenant's older
jobs, the next ones a round of all of them apart. So the tasks of two tenants, and of two jobs of
one, alternate, and a tenant's hundred jobs delay another one's first task by what runs already.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a job's tasks."""

    first: int
    step: int

    def of(self, number: int) -> int:
        """Return the turn of a task, counted from 0."""
        return self.first + number * self.step


def give_turns(now: int, older_jobs: int) -> Turns:
    """Return turns by the virtual clock, and the tenant's older jobs that have work to do."""
    return Turns(now + 1 + older_jobs, 1 + older_jobs)
