from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from statistics import mode

import numpy as np
import pytest

from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.returns import LONGEST, WINDOW, Returns
from lookalike_search.model import Vector
from tests.support.virtual_time import VirtualLoop, run_virtually

VECTOR = np.zeros(1, np.float32)
FIXED = 0.1
"""Seconds that a request takes whatever it carries."""
EACH = 0.0005


class Callers:
    """Callers in a closed loop on a backend whose requests cost much the same, in virtual time."""

    def __init__(self, count: int, *, away: float, patient: bool = True) -> None:
        self.count = count
        self.away = away
        self.sizes: list[int] = []
        self.waits: list[float] = []
        self.coalescer = Coalescer(
            self._run, parallel=1, most=lambda _key: 64, patient=lambda: patient
        )

    async def _run(self, _key: str, vectors: Sequence[Vector]) -> list[int]:
        self.sizes.append(len(vectors))
        await asyncio.sleep(FIXED + EACH * len(vectors))
        return list(range(len(vectors)))

    async def call(self, number: int, calls: int) -> None:
        for _ in range(calls):
            asked = asyncio.get_running_loop().time()
            await self.coalescer.search("k", VECTOR)
            self.waits.append(asyncio.get_running_loop().time() - asked)
            await asyncio.sleep(self.away * (1 + number / self.count))

    def run(self, calls: int) -> float:
        """Return the seconds that all calls took."""

        async def main(loop: VirtualLoop) -> float:
            # They come one after the other, so that the first goes alone.
            async with asyncio.TaskGroup() as group:
                for number in range(self.count):
                    group.create_task(self.call(number, calls))
                    await asyncio.sleep(0.001)
            return loop.time()

        return run_virtually(main)


@pytest.mark.parametrize("count", [2, 8, 32])
def test_callers_that_come_back_at_once_are_answered_together(count: int) -> None:
    alone, waited_for = Callers(count, away=0.005, patient=False), Callers(count, away=0.005)
    assert waited_for.run(40) < 0.75 * alone.run(40)
    assert mode(waited_for.sizes) == count
    assert max(alone.sizes) < count


def test_a_lone_caller_never_waits() -> None:
    callers = Callers(1, away=0.005)
    callers.run(20)
    assert callers.waits == pytest.approx([FIXED + EACH] * 20)


def test_a_full_request_waits_for_nobody() -> None:
    alone, waited_for = Callers(128, away=0.005, patient=False), Callers(128, away=0.005)
    assert waited_for.run(20) < 1.01 * alone.run(20)
    assert max(waited_for.sizes) == 64


def test_callers_who_all_leave_are_forgotten_in_a_moment() -> None:
    callers = Callers(8, away=0.005)

    async def main(_loop: VirtualLoop) -> None:
        await asyncio.gather(*(callers.call(number, 20) for number in range(8)))
        await asyncio.sleep(2 * LONGEST)

    run_virtually(main)
    assert callers.coalescer._lanes == {}


def test_one_that_does_not_come_back_is_waited_for_a_moment_only() -> None:
    callers = Callers(8, away=0.005)

    async def main(loop: VirtualLoop) -> float:
        await asyncio.gather(*(callers.call(number, 20 + number) for number in range(8)))
        return loop.time()

    run_virtually(main)
    assert max(callers.waits) <= FIXED + EACH * 8 + min(LONGEST, WINDOW * FIXED * 1.1) + FIXED


def test_what_is_known_fades() -> None:
    returns = Returns()
    now = 0.0
    for _ in range(10):
        returns.note_answers(4, started=now - FIXED, now=now)
        for _ in range(4):
            returns.note_arrival(now + 0.001)
        now += FIXED
    returns.note_answers(4, started=now - FIXED, now=now)
    assert returns.patience(now) == pytest.approx(WINDOW * FIXED)
    for _ in range(4):
        returns.note_arrival(now + 0.001)
    assert returns.patience(now + 0.001) == 0.0
    for _ in range(3):
        returns.note_answers(4, started=now - FIXED, now=now)
    assert returns.patience(now) == 0.0


class _Early(VirtualLoop):
    """A loop that calls a little early, as those may whose clock is coarse."""

    def call_later(  # type: ignore[override]  # its own type has more than is needed here
        self, delay: float, callback: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        return super().call_later(0.9 * delay, callback, *args)


def test_a_timer_that_comes_early_is_the_end_of_waiting() -> None:
    callers = Callers(8, away=0.005)

    async def main() -> None:
        await asyncio.gather(*(callers.call(number, 20 + number) for number in range(8)))

    with asyncio.Runner(loop_factory=_Early) as runner:
        runner.run(main())  # else everybody waits, and nothing will ever happen
    assert len(callers.waits) == sum(range(20, 28))
