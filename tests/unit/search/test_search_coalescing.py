from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lookalike_common.context import RequestContext, current_context, use_context
from lookalike_common.errors import BackendUnavailableError, DeadlineExceededError
from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.model import Bits, Vector


def vector(value: float) -> Vector:
    return np.array([value], np.float32)


class Backend:
    """Answers with the vectors' own values, when it is let go."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, list[float]]] = []
        self.gate = asyncio.Event()
        self.cancelled = 0
        self.refuses: Callable[[list[float]], Exception | None] = lambda _values: None

    async def run(self, key: str, vectors: Sequence[Vector]) -> list[float]:
        values = [float(each[0]) for each in vectors if not isinstance(each, Bits)]
        assert current_context().deadline is None
        self.requests.append((key, values))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        error = self.refuses(values)
        if error is not None:
            raise error
        return values

    def coalescer(self, most: int = 64) -> Coalescer[str, Vector, float]:
        return Coalescer(self.run, parallel=1, most=lambda _key: most)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def start(coalescer: Coalescer[str, Vector, float], count: int) -> list[asyncio.Task[float]]:
    """Start searches, of which the first is under way before the others come."""
    first = asyncio.create_task(coalescer.search("k", vector(0)))
    await turn()
    return [
        first,
        *(asyncio.create_task(coalescer.search("k", vector(i))) for i in range(1, count)),
    ]


async def test_a_lone_search_goes_at_once_and_the_others_together() -> None:
    backend = Backend()
    coalescer = backend.coalescer()
    searches = await start(coalescer, 10)
    await turn()
    assert backend.requests == [("k", [0.0])]
    backend.gate.set()
    assert await asyncio.gather(*searches) == [float(i) for i in range(10)]
    assert backend.requests[1:] == [("k", [float(i) for i in range(1, 10)])]


async def test_what_arrives_in_one_turn_of_the_loop_goes_together() -> None:
    backend = Backend()
    backend.gate.set()
    coalescer = backend.coalescer()
    answers = await asyncio.gather(*(coalescer.search("k", vector(i)) for i in range(10)))
    assert answers == [float(i) for i in range(10)]
    assert backend.requests == [("k", [float(i) for i in range(10)])]


async def test_only_what_asks_alike_goes_together() -> None:
    backend = Backend()
    backend.gate.set()
    coalescer = backend.coalescer()
    keys = "abab"
    answers = await asyncio.gather(
        *(coalescer.search(key, vector(i)) for i, key in enumerate(keys))
    )
    assert answers == [0.0, 1.0, 2.0, 3.0]
    assert all(key == keys[int(value)] for key, values in backend.requests for value in values)
    assert coalescer._lanes == {}


async def test_requests_are_bounded() -> None:
    backend = Backend()
    coalescer = backend.coalescer(most=4)
    searches = await start(coalescer, 10)
    await turn()
    backend.gate.set()
    await asyncio.gather(*searches)
    assert [len(values) for _, values in backend.requests] == [1, 4, 4, 1]


async def test_who_leaves_is_dropped() -> None:
    backend = Backend()
    coalescer = backend.coalescer()
    searches = await start(coalescer, 3)
    await turn()
    searches[1].cancel()
    await turn()
    backend.gate.set()
    assert await searches[0] == 0.0
    assert await searches[2] == 2.0
    assert backend.requests == [("k", [0.0]), ("k", [2.0])]


async def test_a_request_that_nobody_waits_for_is_cancelled() -> None:
    backend = Backend()
    coalescer = backend.coalescer()
    search = asyncio.create_task(coalescer.search("k", vector(0)))
    await turn()
    search.cancel()
    await turn()
    assert backend.cancelled == 1
    assert coalescer._lanes == {}


async def test_each_caller_keeps_its_deadline() -> None:
    backend = Backend()
    coalescer = backend.coalescer()

    async def search(value: float, seconds: float) -> float:
        with use_context(RequestContext(deadline=time.monotonic() + seconds)):
            return await coalescer.search("k", vector(value))

    patient = asyncio.create_task(search(1, 60))
    with pytest.raises(DeadlineExceededError):
        await search(0, 0.02)
    backend.gate.set()
    assert await patient == 1.0


async def test_a_bad_vector_fails_alone() -> None:
    backend = Backend()
    backend.refuses = lambda values: ValueError("bad") if 3.0 in values else None
    coalescer = backend.coalescer()
    searches = await start(coalescer, 8)
    await turn()
    backend.gate.set()
    answers = await asyncio.gather(*searches, return_exceptions=True)
    assert [each for each in answers if not isinstance(each, ValueError)] == [
        0.0,
        1.0,
        2.0,
        4.0,
        5.0,
        6.0,
        7.0,
    ]
    assert isinstance(answers[3], ValueError)


async def test_an_outage_is_everybodys() -> None:
    backend = Backend()
    backend.refuses = lambda _values: BackendUnavailableError("away")
    coalescer = backend.coalescer()
    searches = await start(coalescer, 8)
    await turn()
    backend.gate.set()
    answers = await asyncio.gather(*searches, return_exceptions=True)
    assert all(isinstance(each, BackendUnavailableError) for each in answers)
    assert len(backend.requests) == 2
