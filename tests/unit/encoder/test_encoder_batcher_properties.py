"""Whatever arrives, leaves or fails, in whatever order: every request gets its own answer."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike_common.errors import InternalError, InvalidContentError
from lookalike_encoder.batching import Batcher, Capacity
from lookalike_encoder.content import Answer, Encoded, Item, Priority, TextContent

texts = st.one_of(
    st.text(st.sampled_from("abcxyz"), min_size=1, max_size=80),
    st.sampled_from(["bad", "poison", "nan", "a|bb|ccc", "x|poison", "|".join("abcdefgh")]),
)


@dataclass(frozen=True)
class Arrival:
    """One request: what it brings, how it behaves, how long until the next one."""

    texts: list[str]
    priority: Priority
    wait: bool
    leaves_after: int | None
    pause: int


arrivals = st.builds(
    Arrival,
    texts=st.lists(texts, min_size=1, max_size=12),
    priority=st.sampled_from(Priority),
    wait=st.just(True),
    leaves_after=st.one_of(st.none(), st.integers(0, 6)),
    pause=st.integers(0, 4),
)


async def play(batcher: Batcher, arrival: Arrival) -> Answer | None:
    """Send a request and perhaps leave before the answer."""
    items = [Item(TextContent(text)) for text in arrival.texts]
    task = asyncio.ensure_future(batcher.encode(items, arrival.priority, wait=arrival.wait))
    if arrival.leaves_after is not None:
        for _ in range(arrival.leaves_after):
            await asyncio.sleep(0)
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


def expect(text: str, outcome: object, vectors_of: Any) -> None:
    if text.startswith("bad"):
        assert isinstance(outcome, InvalidContentError)
    elif "poison" in text or text.startswith("nan"):
        assert isinstance(outcome, InternalError)
    else:
        assert isinstance(outcome, Encoded)
        assert np.array_equal(outcome.vectors, vectors_of(text))


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    schedule=st.lists(arrivals, min_size=1, max_size=15),
    prefetches=st.booleans(),
    capacity=st.integers(1, 40),
)
def test_every_request_gets_exactly_its_own_answer(
    *,
    schedule: list[Arrival],
    prefetches: bool,
    capacity: int,
    make_batcher: Any,
    make_encoder: Any,
    vectors_of: Any,
) -> None:
    async def run() -> None:
        encoder = make_encoder(prefetches=prefetches)
        async with make_batcher(encoder, Capacity(items=capacity)) as batcher:
            tasks = []
            for arrival in schedule:
                tasks.append(asyncio.ensure_future(play(batcher, arrival)))
                for _ in range(arrival.pause):
                    await asyncio.sleep(0)
            answers = await asyncio.gather(*tasks)
            assert batcher.backlog_items == 0
        for arrival, answer in zip(schedule, answers, strict=True):
            if answer is None:
                assert arrival.leaves_after is not None
                continue
            assert len(answer.outcomes) == len(arrival.texts)
            for text, outcome in zip(arrival.texts, answer.outcomes, strict=True):
                expect(text, outcome, vectors_of)
        budget = encoder.manifest.budget("cpu")
        for texts_of_run in encoder.runs:
            longest = max(len(text) for text in texts_of_run)
            assert len(texts_of_run) <= budget.max_rows
            assert len(texts_of_run) == 1 or len(texts_of_run) * longest <= budget.max_work

    asyncio.run(asyncio.wait_for(run(), timeout=20))  # a lost answer would hang for ever
