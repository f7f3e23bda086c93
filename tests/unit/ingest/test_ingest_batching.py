"""Batches, bisection and patience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import (
    BackendUnavailableError,
    EncoderMismatchError,
    InternalError,
    InvalidArgumentError,
    LookalikeError,
    OverloadedError,
)
from lookalike_ingest.batches.batching import BatchLimits, choose_batch, cut
from lookalike_ingest.batches.bisection import Bisection
from lookalike_ingest.batches.patience import Backoff, Patience
from lookalike_ingest.concurrency import gather_all
from lookalike_ingest.job import Item
from lookalike_ingest.places import FilePlace
from lookalike_ingest.steps.step import JobFailedError

ITEM = Item(0, "k", "u", FilePlace("/k"), 10, {}, 0)
QUICK = Backoff(timedelta(microseconds=1), timedelta(microseconds=10))


class Waits:
    """Patience that notes when it waited."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.resumed = 0
        self.patience = Patience(QUICK, on_wait=self._wait, on_resume=self._resume)

    async def _wait(self, reason: str) -> None:
        self.reasons.append(reason)

    async def _resume(self) -> None:
        self.resumed += 1


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 6)), max_size=20),
    st.integers(1, 8),
    st.integers(1, 200),
)
def test_a_batch_is_a_bounded_front_of_what_is_pending(
    pending: list[tuple[int, int]], max_items: int, max_bytes: int
) -> None:
    items = [
        replace(ITEM, ordinal=n, size=size, attempts=attempts)
        for n, (size, attempts) in enumerate(pending)
    ]
    limits = BatchLimits(max_items, max_bytes)
    batch = choose_batch(items, limits)
    assert list(batch) == items[: len(batch)]
    assert bool(batch) == bool(items)
    assert len(batch) <= max_items
    assert len(batch) <= 1 or sum(item.size for item in batch) <= max_bytes
    suspects = [item for item in batch if item.attempts >= limits.isolate_after]
    assert not suspects or len(batch) == 1


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 9), st.integers(1, 90))
def test_cutting_keeps_everything_in_order(
    sizes: list[int], max_items: int, max_bytes: int
) -> None:
    runs = cut(sizes, max_items, max_bytes)
    assert [size for run in runs for size in sizes[run]] == sizes
    for run in runs:
        assert 1 <= len(sizes[run]) <= max_items
        assert len(sizes[run]) == 1 or sum(sizes[run]) <= max_bytes


@pytest.mark.parametrize("failures", [1, 2, 3, 10, 100])
def test_pauses_grow_to_a_limit(failures: int) -> None:
    backoff = Backoff(timedelta(seconds=0.1), timedelta(seconds=5))
    expected = min(0.1 * 2 ** (failures - 1), 5)
    assert 0.75 * expected <= backoff.delay(failures) <= 1.25 * expected


async def test_patience_says_that_it_waits_from_the_second_failure_on() -> None:
    waits = Waits()
    errors: list[LookalikeError] = [BackendUnavailableError("away"), OverloadedError("full")]

    async def attempt() -> int:
        if errors:
            raise errors.pop(0)
        return 7

    assert await waits.patience.call("encoder", attempt) == 7
    assert waits.reasons == ["encoder: full"]
    assert waits.resumed == 1
    errors.append(BackendUnavailableError("once"))
    assert await waits.patience.call("encoder", attempt) == 7
    assert waits.resumed == 1


async def test_patience_does_not_wait_for_what_does_not_pass() -> None:
    async def attempt() -> None:
        raise InvalidArgumentError("wrong")

    with pytest.raises(InvalidArgumentError):
        await Waits().patience.call("encoder", attempt)


@given(st.sets(st.integers(0, 31)), st.integers(0, 32))
async def test_only_the_guilty_fail(guilty: set[int], count: int) -> None:
    error = InternalError("boom")

    async def call(items: Sequence[int]) -> Sequence[str | LookalikeError]:
        if guilty & set(items):
            raise error
        return [str(item) for item in items]

    results = await Bisection("x", Waits().patience).call(list(range(count)), call)
    assert list(results) == [error if n in guilty else str(n) for n in range(count)]


async def test_losing_a_living_server_over_an_item_ends_in_its_failure() -> None:
    calls: list[int] = []
    looks = 0

    async def alive() -> None:
        nonlocal looks
        looks += 1
        if looks % 2:
            raise BackendUnavailableError("restarting")

    async def call(items: Sequence[int]) -> Sequence[str | LookalikeError]:
        calls.append(len(items))
        if 3 in items:
            raise BackendUnavailableError("reset")
        return [str(item) for item in items]

    waits = Waits()
    bisection = Bisection("encoder", waits.patience, check_alive=alive)
    results = await bisection.call([1, 2, 3, 4], call)
    assert [isinstance(result, LookalikeError) for result in results] == [
        False,
        False,
        True,
        False,
    ]
    assert calls == [4, 4, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert waits.reasons


async def test_a_server_that_is_away_is_never_an_items_fault() -> None:
    remaining = 50

    async def call(items: Sequence[int]) -> Sequence[str | LookalikeError]:
        nonlocal remaining
        if remaining:
            remaining -= 1
            raise BackendUnavailableError("away")
        return [str(item) for item in items]

    assert await Bisection("search", Waits().patience).call([1, 2], call) == ["1", "2"]


async def test_what_no_item_is_to_blame_for_fails_the_job() -> None:
    async def call(_items: Sequence[int]) -> Sequence[str | LookalikeError]:
        raise EncoderMismatchError("another fingerprint")

    with pytest.raises(JobFailedError) as caught:
        await Bisection("encoder", Waits().patience).call([1, 2], call)
    assert isinstance(caught.value.cause, EncoderMismatchError)


async def test_gathering_ends_everything_with_the_first_error() -> None:
    ended: list[str] = []

    async def fails() -> None:
        raise ValueError("first")

    async def waits() -> None:
        try:
            await Waits().patience.call("x", never)
        finally:
            ended.append("waits")

    async def never() -> None:
        raise BackendUnavailableError("away")

    with pytest.raises(ValueError, match="first"):
        await gather_all([fails(), waits()])
    assert ended == ["waits"]
