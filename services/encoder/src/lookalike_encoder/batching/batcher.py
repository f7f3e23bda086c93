"""The one task that owns an encoder: it takes epochs, hops to a thread once, hands out answers.

    handler ─encode()─► backlog ─take()─► worker thread ─► answers
                           ▲   │
                           │   └─peek()─► prefetch thread: the next epoch is prepared meanwhile
                           └─── what gave way to somebody who waits

Nothing here blocks, and nothing here knows what a text or a picture is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Self

from lookalike_common.errors import BackendUnavailableError, InternalError, OverloadedError
from lookalike_encoder.batching.backlog import Backlog, Capacity
from lookalike_encoder.batching.metrics import BatchMetrics
from lookalike_encoder.batching.work import Entry, Submission
from lookalike_encoder.batching.worker import Worker
from lookalike_encoder.content import Answer, Item, Priority
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Budget

_logger = logging.getLogger(__name__)
_SMOOTHING = 0.2
_LEAST_DELAY, _MOST_DELAY = 0.1, 30.0


class Batcher:
    """Merges the requests for one encoder; an async context manager."""

    def __init__(
        self, encoder: Encoder, budget: Budget, capacity: Capacity, metrics: BatchMetrics
    ) -> None:
        self._encoder = encoder
        self._backlog = Backlog(capacity, budget)
        self._worker = Worker(encoder, budget, metrics, self._backlog.someone_waits)
        name = encoder.manifest.versioned_name
        self._thread = ThreadPoolExecutor(1, f"run-{name}")
        self._side_thread = ThreadPoolExecutor(1, f"prepare-{name}")
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._running = False
        self._closing = False
        self._prefetching: asyncio.Future[None] | None = None
        self._prefetched: list[Entry] = []
        self._seconds_per_item = 0.0
        self._queue_items = metrics.queue_items.labels(name)
        self._queue_seconds = metrics.queue_seconds.labels(name)
        self._refused = metrics.refused.labels(name)
        self._abandoned = metrics.abandoned.labels(name)

    @property
    def backlog_items(self) -> int:
        """Items waiting or running."""
        return self._backlog.items

    async def __aenter__(self) -> Self:
        self._owner = asyncio.create_task(self._own())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the epoch that runs, refuse the rest."""
        self._closing = True
        self._arrived.set()
        await self._owner
        for entry in self._backlog.clear():
            entry.fail(BackendUnavailableError("the encoder is being stopped"))
            entry.submission.deliver()
        if self._prefetching:
            await asyncio.wait([self._prefetching])
        self._thread.shutdown()
        self._side_thread.shutdown()

    async def encode(
        self, items: Sequence[Item], priority: Priority, *, wait: bool = False
    ) -> Answer:
        """Encode items; each has its outcome at its place.

        Raises OverloadedError when there is no room, or with `wait` waits for it. Cancelling it
        drops what is not yet running.
        """
        loop = asyncio.get_running_loop()
        submission = Submission(items, priority, loop.create_future())
        await self._enter(submission, wait=wait)
        entries = [
            Entry(submission, index, self._encoder.estimate(item))
            for index, item in enumerate(items)
        ]
        self._backlog.admit(entries, submission)
        self._queue_items.set(self._backlog.items)
        self._arrived.set()
        self._prefetch()
        try:
            return await submission.done
        except asyncio.CancelledError:
            submission.abandoned = True
            self._abandoned.inc()
            raise
        finally:
            self._backlog.release(submission)
            self._queue_items.set(self._backlog.items)
            self._room.set()

    async def _enter(self, submission: Submission, *, wait: bool) -> None:
        """Return when there is room for a request."""
        while not self._backlog.has_room(len(submission.items), submission.size):
            if not wait:
                self._refused.inc()
                raise OverloadedError(
                    f"encoders/{self._encoder.manifest.versioned_name} has "
                    f"{self._backlog.items} items waiting; try again later",
                    retry_after=self._delay(),
                )
            self._room.clear()
            await self._room.wait()
        if self._closing:
            raise BackendUnavailableError("the encoder is being stopped")

    def _delay(self) -> timedelta:
        """Guess when what waits now will be done."""
        seconds = self._backlog.items * self._seconds_per_item or 1.0
        return timedelta(seconds=min(max(seconds, _LEAST_DELAY), _MOST_DELAY))

    async def _own(self) -> None:
        while not self._closing:
            if entries := self._backlog.take():
                await self._run(entries)
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _run(self, entries: list[Entry]) -> None:
        """Run one epoch and wake everybody whose answer is complete."""
        await self._finish_prefetching(entries)
        started = self._note_start(entries)
        self._running = True
        running = asyncio.get_running_loop().run_in_executor(
            self._thread, self._worker.process, entries
        )
        self._prefetch()
        try:
            left = await running
        except Exception:
            _logger.exception("a defect of the batcher")
            left = []
            for entry in entries:
                entry.fail(InternalError("a defect of the batcher"))
        finally:
            self._running = False
        self._backlog.put_back(left)
        self._note_end(started, len(entries) - len(left))
        _deliver(entries)

    def _prefetch(self) -> None:
        """Prepare the next epoch while one runs, if the encoder finds that worth it."""
        idle = self._prefetching is None and self._running
        if not (idle and self._encoder.prefetches):
            return
        entries = [entry for entry in self._backlog.peek() if not entry.prepared]
        if not entries:
            return
        self._prefetched = entries
        self._prefetching = asyncio.get_running_loop().run_in_executor(
            self._side_thread, self._worker.prepare, entries
        )
        self._prefetching.add_done_callback(self._end_prefetching)

    def _end_prefetching(self, _: asyncio.Future[None]) -> None:
        prefetched, self._prefetched = self._prefetched, []
        self._prefetching = None
        _deliver(prefetched)  # those that could not be prepared are never run
        self._prefetch()

    async def _finish_prefetching(self, entries: list[Entry]) -> None:
        """Wait for the other thread if it still prepares what is to run now."""
        if self._prefetching and not set(map(id, entries)).isdisjoint(map(id, self._prefetched)):
            await asyncio.wait([self._prefetching])

    def _note_start(self, entries: list[Entry]) -> float:
        now = time.perf_counter()
        for entry in entries:
            if entry.submission.taken is None:
                entry.submission.taken = now
                self._queue_seconds.observe(now - entry.submission.arrived)
        return now

    def _note_end(self, started: float, count: int) -> None:
        if count:
            seconds = (time.perf_counter() - started) / count
            known = self._seconds_per_item or seconds
            self._seconds_per_item = known + _SMOOTHING * (seconds - known)


def _deliver(entries: list[Entry]) -> None:
    """Wake every caller among these whose answer is complete."""
    for submission in {id(entry.submission): entry.submission for entry in entries}.values():
        submission.deliver()
