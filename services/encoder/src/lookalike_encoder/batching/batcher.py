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
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import Self

from lookalike_common.context import current_context
from lookalike_common.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    InternalError,
    LookalikeError,
    OverloadedError,
)
from lookalike_encoder.batching.backlog import Backlog, Capacity
from lookalike_encoder.batching.metrics import BatchMetrics
from lookalike_encoder.batching.planner import fills_a_run
from lookalike_encoder.batching.returns import Returns
from lookalike_encoder.batching.work import Entry, Submission
from lookalike_encoder.batching.worker import Worker
from lookalike_encoder.cache import ResultCache
from lookalike_encoder.content import Answer, Item, Priority
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.manifest import Budget

_logger = logging.getLogger(__name__)
_SMOOTHING = 0.2
_LEAST_DELAY, _MOST_DELAY = 0.1, 30.0


def one_thread(name: str) -> Executor:
    """Make what runs one thing after the other, beside the event loop."""
    return ThreadPoolExecutor(1, name)


class Batcher:
    """Merges the requests for one encoder; an async context manager."""

    def __init__(
        self,
        encoder: Encoder,
        budget: Budget,
        capacity: Capacity,
        metrics: BatchMetrics,
        *,
        cache: ResultCache | None = None,
        clock: Callable[[], float] = time.monotonic,
        make_thread: Callable[[str], Executor] = one_thread,
    ) -> None:
        """`clock` must be the one that deadlines are given in."""
        self._encoder = encoder
        self._budget = budget
        self._capacity = capacity
        self._clock = clock
        self._returns = Returns()
        self._backlog = Backlog(capacity, budget)
        self._worker = Worker(encoder, budget, metrics, self._backlog.someone_waits)
        name = encoder.manifest.versioned_name
        self._thread = make_thread(f"run-{name}")
        self._side_thread = make_thread(f"prepare-{name}")
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._running = False
        self._closing = False
        self._prefetching: asyncio.Future[None] | None = None
        self._prefetched: list[Entry] = []
        self._seconds_per_item = 0.0
        fingerprint = encoder.manifest.fingerprint
        self._cache = cache.of_encoder(name, fingerprint) if cache else None
        self._metrics = metrics
        self._queue_items = metrics.queue_items.labels(name)
        self._queue_seconds = metrics.queue_seconds.labels(name)
        self._abandoned = metrics.abandoned.labels(name)

    @property
    def backlog_items(self) -> int:
        """Items waiting or running."""
        return self._backlog.items

    @property
    def backlog_bytes(self) -> int:
        """Their bytes."""
        return self._backlog.bytes

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

        Raises OverloadedError when there is no room, or with `wait` waits for it, and when it
        waited for longer than is allowed; DeadlineExceededError when the deadline of the current
        call passes before its turn. Cancelling it drops what is not yet running.
        """

        def run(wanted: Sequence[Item]) -> Awaitable[Answer]:
            return self._encode(wanted, priority, wait=wait)

        try:
            answer = await (self._cache.encode(items, run) if self._cache else run(items))
        except LookalikeError as error:
            self._count_failures([error] * len(items))
            raise
        self._count_failures(answer.outcomes)
        return answer

    async def _encode(self, items: Sequence[Item], priority: Priority, *, wait: bool) -> Answer:
        done = asyncio.get_running_loop().create_future()
        deadline = current_context().deadline
        submission = Submission(items, priority, done, self._clock(), deadline)
        await self._enter(submission, wait=wait)
        self._admit(submission)
        try:
            answer = await submission.done
        except asyncio.CancelledError:
            submission.abandoned = True
            self._backlog.abandon(submission)
            self._abandoned.inc()
            raise
        finally:
            self._backlog.release(submission)
            self._queue_items.dec(len(items))
            self._room.set()
        if isinstance(answer, LookalikeError):
            raise answer
        return answer

    def _admit(self, submission: Submission) -> None:
        """Let a request into its line."""
        entries = [
            Entry(submission, index, self._encoder.estimate(item))
            for index, item in enumerate(submission.items)
        ]
        submission.admitted = self._clock()
        self._backlog.admit(entries, submission)
        self._returns.note_arrival(submission.priority, submission.admitted)
        self._queue_items.inc(len(entries))
        self._arrived.set()
        self._prefetch()

    def _count_failures(self, outcomes: Sequence[object]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, LookalikeError):
                name = self._encoder.manifest.versioned_name
                self._metrics.failures.labels(name, outcome.reason).inc()

    async def _enter(self, submission: Submission, *, wait: bool) -> None:
        """Return when there is room for a request."""
        while not self._backlog.has_room(len(submission.items), submission.size):
            if not wait:
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
            if self._backlog.is_empty():
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await self._gather()
            if entries := self._take():
                await self._run(entries)

    async def _gather(self) -> None:
        """Give what waits a moment to become more, where that pays."""
        while not self._closing and (seconds := self._patience()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _patience(self) -> float:
        """Return for how many seconds the next epoch should wait for more to arrive."""
        if not self._capacity.delay and (self._encoder.prefetches or self._returns.are_complete()):
            return 0.0
        waiting = [entry for entry in self._backlog.peek() if not entry.is_finished]
        if not waiting or len(waiting) >= self._budget.max_rows:
            return 0.0
        now, first = self._clock(), waiting[0].submission
        lengths = [entry.work for entry in waiting]
        joined = fills_a_run(lengths, self._budget)
        delay = 0.0 if joined else self._capacity.delay.total_seconds() + first.admitted - now
        # Two cohorts suit an encoder that prepares one while it runs the other.
        cohorts = self._encoder.prefetches
        return max(delay, 0.0 if cohorts else self._returns.patience(first.priority, now))

    def _take(self) -> list[Entry]:
        """Take the next epoch, without those whose time is up: they are answered without a run."""
        now = self._clock()
        if self._capacity.time:
            self._backlog.drop_finished(lambda entry: self._refuse(entry, now))
        return [entry for entry in self._backlog.take() if not self._refuse(entry, now)]

    def _refuse(self, entry: Entry, now: float) -> bool:
        """Answer a request if its time is up and it is not begun; says so."""
        submission, allowed = entry.submission, self._capacity.time.total_seconds()
        if entry.is_finished:
            return False
        if submission.is_late(now):
            text = "the deadline passed before its turn came"
            submission.reject(DeadlineExceededError(text))
        elif allowed and submission.taken is None and now - submission.admitted > allowed:
            text = f"waited longer than {allowed:g} s; try again later"
            submission.reject(OverloadedError(text, retry_after=self._delay()))
        return entry.is_finished

    async def _run(self, entries: list[Entry]) -> None:
        """Run one epoch and wake everybody whose answer is complete."""
        if await self._finish_prefetching(entries):
            for entry in entries:
                self._refuse(entry, self._clock())
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
        answered = _deliver(entries)
        priority = entries[0].submission.priority
        self._returns.note_answers(priority, answered, started=started, now=self._clock())

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

    async def _finish_prefetching(self, entries: list[Entry]) -> bool:
        """Wait for the other thread if it still prepares what is to run now; says whether."""
        idle = set(map(id, entries)).isdisjoint(map(id, self._prefetched))
        if self._prefetching and not idle:
            await asyncio.wait([self._prefetching])
        return not idle

    def _note_start(self, entries: list[Entry]) -> float:
        now = self._clock()
        for entry in entries:
            if entry.submission.taken is None:
                entry.submission.taken = now
                self._queue_seconds.observe(now - entry.submission.arrived)
        return now

    def _note_end(self, started: float, count: int) -> None:
        if count:
            seconds = (self._clock() - started) / count
            known = self._seconds_per_item or seconds
            self._seconds_per_item = known + _SMOOTHING * (seconds - known)


def _deliver(entries: list[Entry]) -> int:
    """Wake every caller among these whose answer is complete; returns how many there were."""
    submissions = {id(entry.submission): entry.submission for entry in entries}.values()
    return sum(submission.deliver() for submission in submissions)
