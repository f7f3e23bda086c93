"""How long requests wait in line: for others, for their turn, and for callers who come back."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import DeadlineExceededError, OverloadedError
from lookalike_encoder.batching import Batcher, Capacity
from lookalike_encoder.content import Item, Priority, TextContent
from tests.support.virtual_time import Thread, VirtualLoop, run_virtually

RUN = 0.010
HOP = 0.001
"""From an answer to the same caller's next request."""


async def ask(batcher: Batcher, text: str, deadline: float | None = None) -> None:
    with use_context(RequestContext(deadline=deadline)):
        await batcher.encode([Item(TextContent(text))], Priority.INTERACTIVE)


async def keep_asking(batcher: Batcher, name: str, times: int, hop: float = HOP) -> None:
    for number in range(times):
        await ask(batcher, f"{name}{number % 10}")
        await asyncio.sleep(hop)


def play(make_batcher: Any, encoder: Any, *scenes: Any, capacity: Capacity = Capacity()) -> float:  # noqa: B008 - frozen
    """Run scenes side by side, each given the batcher; returns when the last one ended."""

    async def main(loop: VirtualLoop) -> float:
        options = {"clock": loop.time, "make_thread": lambda _: Thread(loop, lambda: RUN)}
        async with make_batcher(encoder, capacity, **options) as batcher:
            running: list[Coroutine[Any, Any, None]] = [scene(batcher) for scene in scenes]
            await asyncio.gather(*running)
            return loop.time()

    return run_virtually(main)


async def late(batcher: Batcher, name: str, seconds: float, times: int, hop: float = HOP) -> None:
    await asyncio.sleep(seconds)
    await keep_asking(batcher, name, times, hop)


def test_two_cohorts_become_one(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()
    play(
        make_batcher,
        encoder,
        lambda batcher: keep_asking(batcher, "a", 30),
        lambda batcher: late(batcher, "b", RUN / 2, 30),
    )
    sizes = [len(run) for run in encoder.runs]
    assert sizes[:4] == [1, 1, 1, 1], "nobody is waited for before it is known to come back"
    assert sizes[15:-1] == [2] * len(sizes[15:-1])


def test_who_takes_long_to_come_back_is_not_waited_for(
    make_batcher: Any, make_encoder: Any
) -> None:
    encoder = make_encoder()
    play(
        make_batcher,
        encoder,
        lambda batcher: keep_asking(batcher, "a", 20, RUN / 2),
        lambda batcher: late(batcher, "b", RUN / 2, 20, RUN / 2),
    )
    assert {len(run) for run in encoder.runs} == {1}


def test_a_lone_caller_never_waits(make_batcher: Any, make_encoder: Any) -> None:
    ended = play(make_batcher, make_encoder(), lambda batcher: keep_asking(batcher, "a", 50))
    assert ended == pytest.approx(50 * (RUN + HOP))


def test_a_delay_gathers_what_would_run_alone(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()
    ended = play(
        make_batcher,
        encoder,
        lambda batcher: ask(batcher, "a"),
        lambda batcher: late(batcher, "b", 0.004, 1, 0),
        lambda batcher: late(batcher, "c", 0.006, 1, 0),
        capacity=Capacity(delay=timedelta(milliseconds=5)),
    )
    assert encoder.runs == [["a", "b0"], ["c0"]]
    assert ended == pytest.approx(0.005 + 2 * RUN)


def test_a_full_run_does_not_wait_for_the_delay(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()
    scenes = [lambda batcher, text=text: ask(batcher, text) for text in "abcd"]
    capacity = Capacity(delay=timedelta(seconds=5))
    assert play(make_batcher, encoder, *scenes, capacity=capacity) == pytest.approx(RUN)
    assert encoder.runs == [["a", "b", "c", "d"]]


def test_who_gave_up_is_not_run(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()

    async def give_up(batcher: Batcher) -> None:
        await asyncio.sleep(RUN / 2)
        with pytest.raises(DeadlineExceededError):
            await ask(batcher, "late", deadline=RUN * 0.9)

    play(make_batcher, encoder, lambda batcher: ask(batcher, "a"), give_up)
    assert encoder.runs == [["a"]]


def test_who_waits_too_long_is_told_to_come_again(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()

    async def wait(batcher: Batcher) -> None:
        await asyncio.sleep(RUN / 2)
        with pytest.raises(OverloadedError) as refused:
            await ask(batcher, "late")
        assert refused.value.retry_after

    capacity = Capacity(time=timedelta(seconds=RUN / 3))
    play(make_batcher, encoder, lambda batcher: ask(batcher, "a"), wait, capacity=capacity)
    assert encoder.runs == [["a"]]


def test_who_left_does_not_stay_in_line(make_batcher: Any, make_encoder: Any) -> None:
    encoder = make_encoder()

    async def come_and_go(batcher: Batcher) -> None:
        for number in range(100):
            asked = asyncio.ensure_future(ask(batcher, f"gone {number}"))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        assert batcher.backlog_items == 1
        assert len(batcher._backlog.peek()) <= 1

    play(make_batcher, encoder, lambda batcher: ask(batcher, "a"), come_and_go)
    assert encoder.runs == [["a"]]
