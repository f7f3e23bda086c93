"""The batcher on a clock that jumps: whatever comes, when, and however it ends.

Every request gets exactly its own answer, nothing is lost, nothing runs twice, and when everybody
has gone the house is empty.
"""

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidContentError,
    LookalikeError,
    OverloadedError,
)
from lookalike_encoder.batching import Batcher, BatchMetrics, Capacity
from lookalike_encoder.cache import CacheMetrics, ResultCache
from lookalike_encoder.content import Answer, Encoded, Item, Operation, Priority, TextContent
from tests.support.virtual_time import Thread, VirtualLoop, run_virtually

KINDS = ("plain", "longer by a good deal", "a|bb|ccc", "bad", "poison", "nan", "crash", "x|poison")


@dataclass(frozen=True)
class Caller:
    """One request: when it comes, what it brings, for how long it stays."""

    at: int
    """Milliseconds, as below."""
    kinds: list[str]
    operation: Operation
    priority: Priority
    wait: bool
    leaves_after: int | None
    deadline: int | None


@dataclass(frozen=True)
class House:
    """How the batcher is set, and how fast its model is."""

    items: int
    bytes: int
    delay: int
    time: int
    run: int
    prefetches: bool
    caches: bool


milliseconds = st.integers(0, 40)
callers = st.builds(
    Caller,
    at=milliseconds,
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    operation=st.sampled_from([Operation.ENCODE, Operation.RERANK]),
    priority=st.sampled_from(Priority),
    wait=st.booleans(),
    leaves_after=st.none() | milliseconds,
    deadline=st.none() | milliseconds,
)
houses = st.builds(
    House,
    items=st.integers(1, 40),
    bytes=st.integers(1, 400),
    delay=st.sampled_from([0, 0, 5]),
    time=st.sampled_from([0, 0, 10]),
    run=st.integers(1, 10),
    prefetches=st.booleans(),
    caches=st.booleans(),
)


def numbered(kind: str, number: str) -> str:
    """Tell items of a kind apart, but for those of every fourth caller: a cache may know them."""
    return "|".join(f"{part} {number}" for part in kind.split("|"))


async def call(
    batcher: Batcher, house: House, caller: Caller, texts: list[str], clock: VirtualLoop
) -> Answer | LookalikeError | None:
    """Come, ask and perhaps leave: an answer, why there is none, or None for who left."""
    await asyncio.sleep(caller.at / 1000)
    until = None if caller.deadline is None else clock.time() + caller.deadline / 1000
    items = [Item(TextContent(text), operation=caller.operation) for text in texts]
    with use_context(RequestContext(deadline=until)):
        asked = asyncio.ensure_future(batcher.encode(items, caller.priority, wait=caller.wait))
    if caller.leaves_after is not None:
        clock.call_later(caller.leaves_after / 1000, asked.cancel)
    allowed = house.time / 1000 if house.time and not caller.wait else math.inf
    if until is not None:
        allowed = min(allowed, until - clock.time())
    try:
        answer = await asked
    except LookalikeError as error:
        if isinstance(error, DeadlineExceededError):
            assert until is not None
            assert clock.time() >= until
        return error
    except asyncio.CancelledError:
        return None
    assert answer.timings.queue.total_seconds() <= allowed + 1e-5, "it was begun in time"
    return answer


def check_outcome(text: str, operation: Operation, outcome: object, vectors_of: Any) -> None:
    uneven = operation is Operation.RERANK and len({len(part) for part in text.split("|")}) > 1
    if text.startswith("bad"):
        assert isinstance(outcome, InvalidContentError)
    elif text.startswith(("crash", "nan")) or "poison" in text or uneven:
        assert isinstance(outcome, InternalError)
    else:
        assert isinstance(outcome, Encoded)
        assert np.array_equal(outcome.vectors, vectors_of(text, operation))


def check_no_answer(house: House, caller: Caller, answer: object) -> None:
    """Check whether a request that got no answer has a good reason."""
    if answer is None:
        assert caller.leaves_after is not None
    elif isinstance(answer, OverloadedError):
        assert answer.retry_after
        assert not caller.wait or house.time
    else:
        assert isinstance(answer, DeadlineExceededError)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(schedule=st.lists(callers, min_size=1, max_size=20), house=houses)
def test_every_request_gets_exactly_its_own_answer(
    *, schedule: list[Caller], house: House, make_batcher: Any, make_encoder: Any, vectors_of: Any
) -> None:
    texts = [
        [numbered(kind, f"{number % 4}.{place}") for place, kind in enumerate(caller.kinds)]
        for number, caller in enumerate(schedule)
    ]
    encoder = make_encoder(prefetches=house.prefetches)
    registry = CollectorRegistry()
    capacity = Capacity(
        house.items,
        house.bytes,
        timedelta(milliseconds=house.delay),
        timedelta(milliseconds=house.time),
    )

    async def main(loop: VirtualLoop) -> list[Answer | LookalikeError | None]:
        batcher = make_batcher(
            encoder,
            capacity,
            metrics=BatchMetrics(registry),
            cache=ResultCache(2000, CacheMetrics(registry)) if house.caches else None,
            clock=loop.time,
            make_thread=lambda _: Thread(loop, lambda: house.run / 1000),
        )
        async with batcher:
            calls = [
                call(batcher, house, *each, loop) for each in zip(schedule, texts, strict=True)
            ]
            answers = await asyncio.gather(*calls)
            assert batcher.backlog_items == batcher.backlog_bytes == 0
        return answers

    answers = run_virtually(main)

    failures = 0
    for caller, asked, answer in zip(schedule, texts, answers, strict=True):
        if isinstance(answer, Answer):
            assert len(answer.outcomes) == len(asked)
            for text, outcome in zip(asked, answer.outcomes, strict=True):
                check_outcome(text, caller.operation, outcome, vectors_of)
            failures += sum(isinstance(each, LookalikeError) for each in answer.outcomes)
        else:
            check_no_answer(house, caller, answer)
            failures += len(asked) if answer else 0

    # What was refused as a whole was not begun, so only larger requests may have been in part.
    begun = [
        asked
        for asked, answer in zip(texts, answers, strict=True)
        if len(asked) > 1 or not isinstance(answer, LookalikeError)
    ]
    asked_for = Counter(part for asked in begun for text in asked for part in text.split("|"))
    for run in encoder.runs:
        if not any(text.startswith("poison") for text in run):
            asked_for.subtract(run)
    assert all(count >= 0 for count in asked_for.values()), (
        "nothing runs more often than it was asked for"
    )
    if not any("crash" in caller.kinds for caller in schedule):
        prepared = Counter(text for call in encoder.prepared for text in call)
        assert prepared <= Counter(text for asked in texts for text in asked), "nor is prepared"
    counted = {
        each.labels["reason"]: each.value
        for metric in registry.collect()
        for each in metric.samples
        if each.name == "lookalike_encoder_failures_total"
    }
    assert sum(counted.values()) == failures
    value = registry.get_sample_value
    label = {"encoder": "fake@1"}
    assert value("lookalike_encoder_queue_items", label) == 0
    assert value("lookalike_encoder_execution_count_total", label) == len(encoder.runs)
    assert value("lookalike_encoder_inference_count_total", label) == sum(map(len, encoder.runs))
