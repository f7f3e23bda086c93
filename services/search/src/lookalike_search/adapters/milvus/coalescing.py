"""Searches that ask alike at the same time go to Milvus as one request.

What one request costs depends little on how many vectors it brings (on Milvus Lite, which looks at
every row in Python, hardly at all). So what arrives in one turn of the event loop leaves together,
and while a request is under way, those that come gather and leave when it is back, at most a moment
later if those it answered are about to join (`returns`). A lone search goes at once.

A caller that leaves is dropped; when all callers of a running request have left, it is cancelled.
A request that fails is split, so that a bad vector fails alone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from lookalike_common.context import current_context
from lookalike_common.errors import (
    BackendUnavailableError,
    DeadlineExceededError,
    InternalError,
    NotFoundError,
    OverloadedError,
)
from lookalike_search.adapters.milvus.returns import LONGEST, Returns


class Measured(Protocol):
    """What is asked: a vector, or words."""

    @property
    def nbytes(self) -> int:
        """What it adds to a request."""


Key = TypeVar("Key", bound=Hashable)
Question = TypeVar("Question", bound=Measured)
Answer = TypeVar("Answer")

MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one request's questions."""

_OF_ALL: Final = (
    BackendUnavailableError,
    DeadlineExceededError,
    NotFoundError,
    OverloadedError,
)
"""Failures that are not one question's fault."""


@dataclass(slots=True, eq=False)
class _Waiter(Generic[Question, Answer]):
    question: Question
    answer: asyncio.Future[Answer]


@dataclass(slots=True)
class _Lane(Generic[Question, Answer]):
    """The searches that ask alike."""

    waiting: deque[_Waiter[Question, Answer]] = field(default_factory=deque)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    starting: bool = False
    """What waits goes off at the end of this turn of the event loop."""
    returns: Returns = field(default_factory=Returns)
    timer: asyncio.TimerHandle | None = None
    """Sends off what waits when nobody is waited for any longer."""


class Coalescer(Generic[Key, Question, Answer]):
    """Runs searches together where their keys are the same.

    `run(key, questions)` returns one answer a question, in their order; at most `parallel` of one
    key run at once, each with at most `most(key)` questions. Where it is `patient()`, what waits
    lets those who were just answered join.
    """

    def __init__(
        self,
        run: Callable[[Key, Sequence[Question]], Awaitable[Sequence[Answer]]],
        *,
        parallel: int,
        most: Callable[[Key], int],
        patient: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run = run
        self._parallel = parallel
        self._most = most
        self._patient = patient
        self._lanes: dict[Key, _Lane[Question, Answer]] = {}

    async def search(self, key: Key, question: Question) -> Answer:
        """Return the answer to one question; ends with the caller's own deadline."""
        lane = self._lanes.setdefault(key, _Lane())
        loop = asyncio.get_running_loop()
        waiter = _Waiter(question, loop.create_future())
        lane.waiting.append(waiter)
        lane.returns.note_arrival(loop.time())
        if not lane.starting and len(lane.running) < self._parallel:
            lane.starting = True
            loop.call_soon(self._start, key, lane)
        remaining = current_context().remaining()
        try:
            async with asyncio.timeout(None if remaining is None else remaining.total_seconds()):
                answer: Answer = await waiter.answer
        except TimeoutError:
            raise DeadlineExceededError("Milvus did not answer in time") from None
        return answer

    async def close(self) -> None:
        """Cancel what runs."""
        running = [task for lane in self._lanes.values() for task in lane.running]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _start(self, key: Key, lane: _Lane[Question, Answer]) -> None:
        """Send off what waits, unless those who were just answered are about to join."""
        lane.starting = False
        if len(lane.running) >= self._parallel:
            return
        most = self._most(key)
        patience = self._patience(lane, most)
        if patience > 0:
            if lane.timer is None:
                loop = asyncio.get_running_loop()
                lane.timer = loop.call_later(patience, self._lose_patience, key, lane)
            return
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        batch = _take(lane.waiting, most)
        if batch:
            self._send(key, lane, batch)
        elif not lane.running:
            self._leave(key, lane)

    def _lose_patience(self, key: Key, lane: _Lane[Question, Answer]) -> None:
        """Send off what waits; loops may call a little early, so time is not asked again."""
        lane.timer = None
        lane.returns.give_up()
        self._start(key, lane)

    def _patience(self, lane: _Lane[Question, Answer], most: int) -> float:
        if not lane.waiting or len(lane.waiting) >= most or not self._patient():
            return 0.0
        return lane.returns.patience(asyncio.get_running_loop().time())

    def _leave(self, key: Key, lane: _Lane[Question, Answer]) -> None:
        """Forget a lane that is empty, once nobody is about to come back to it."""

        def forget() -> None:
            if not (lane.waiting or lane.running) and self._lanes.get(key) is lane:
                del self._lanes[key]

        if lane.returns.expects_several and self._patient():
            asyncio.get_running_loop().call_later(LONGEST, forget)
        else:
            forget()

    def _send(
        self,
        key: Key,
        lane: _Lane[Question, Answer],
        batch: Sequence[_Waiter[Question, Answer]],
    ) -> None:
        """Run a request in no caller's context, whose deadline would be everybody's."""
        loop = asyncio.get_running_loop()
        started, callers = loop.time(), len(batch)
        task = asyncio.create_task(self._answer(key, batch), context=contextvars.Context())
        lane.running.add(task)

        def left(_answer: asyncio.Future[Answer]) -> None:
            nonlocal callers
            callers -= 1
            if not callers:
                task.cancel()

        def done(_task: asyncio.Task[None]) -> None:
            lane.running.discard(task)
            lane.returns.note_answers(len(batch), started=started, now=loop.time())
            for each in batch:
                each.answer.cancel()  # those without an answer, when the task was cancelled
            self._start(key, lane)

        for each in batch:
            each.answer.add_done_callback(left)
        task.add_done_callback(done)

    async def _answer(self, key: Key, batch: Sequence[_Waiter[Question, Answer]]) -> None:
        """Run a batch, and its halves if it fails."""
        try:
            answers = await self._run(key, [each.question for each in batch])
            _check_count(len(answers), len(batch))
        except Exception as error:  # noqa: BLE001 - each caller gets it
            if len(batch) > 1 and not isinstance(error, _OF_ALL):
                half = len(batch) // 2
                await self._answer(key, batch[:half])
                await self._answer(key, batch[half:])
                return
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, answer in zip(batch, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)


def _check_count(answers: int, searches: int) -> None:
    if answers != searches:
        raise InternalError(f"{answers} answers for {searches} searches")


def _take(waiting: deque[_Waiter[Question, Answer]], most: int) -> list[_Waiter[Question, Answer]]:
    """Take as many as one request carries, leaving out those whose caller left."""
    batch: list[_Waiter[Question, Answer]] = []
    size = 0
    while waiting and len(batch) < most:
        if waiting[0].answer.done():
            waiting.popleft()
            continue
        size += waiting[0].question.nbytes
        if batch and size > MAX_BYTES:
            break
        batch.append(waiting.popleft())
    return batch
