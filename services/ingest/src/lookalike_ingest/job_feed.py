"""Tells those who follow a job, in this process, that it moved.

The store is the truth; a word from here only saves waiting for the next look at it. Followers in
other processes look every so often.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from lookalike_ingest.job import Job


class Subscription:
    """One follower's view of one job."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()

    def notify(self) -> None:
        """Wake the follower, now or when it next waits."""
        self._moved.set()

    async def wait(self, timeout: timedelta) -> None:  # noqa: ASYNC109 - how long is its contract
        """Return when the job moved since the last wait, at the latest after `timeout`."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._moved.wait()
        except TimeoutError:
            return
        self._moved.clear()


class JobFeed:
    """Who follows which job."""

    def __init__(self) -> None:
        self._followers: defaultdict[str, set[Subscription]] = defaultdict(set)

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """Follow a job within a block."""
        subscription = Subscription()
        self._followers[job_id].add(subscription)
        try:
            yield subscription
        finally:
            self._followers[job_id].discard(subscription)
            if not self._followers[job_id]:
                del self._followers[job_id]

    def publish(self, job: Job) -> None:
        """Wake everybody who follows the job."""
        for subscription in tuple(self._followers.get(job.id, ())):
            subscription.notify()
