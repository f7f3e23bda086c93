"""The batcher against a model that is held up: what runs when, with whom, and for whom."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lookalike_common.errors import (
    BackendUnavailableError,
    InternalError,
    InvalidContentError,
    OverloadedError,
)
from lookalike_common.testing import assert_eventually
from lookalike_encoder.batching import Batcher, Capacity
from lookalike_encoder.batching.planner import PATIENCE
from lookalike_encoder.content import Answer, Encoded, Item, Priority, TextContent

INTERACTIVE, BULK = Priority.INTERACTIVE, Priority.BULK
MakeBatcher = Callable[..., Batcher]


def items(*texts: str) -> list[Item]:
    return [Item(TextContent(text)) for text in texts]


def submit(
    batcher: Batcher, *texts: str, priority: Priority = INTERACTIVE, wait: bool = False
) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(batcher.encode(items(*texts), priority, wait=wait))


async def settle() -> None:
    """Let everything run that can without the model."""
    for _ in range(10):
        await asyncio.sleep(0)


async def hold_up(batcher: Batcher, encoder: Any, text: str = "first") -> asyncio.Task[Answer]:
    """Occupy the model with one item."""
    task = submit(batcher, text)
    await asyncio.to_thread(encoder.wait_for_run)
    return task


async def test_each_item_gets_its_own_vectors(
    make_batcher: MakeBatcher, make_encoder: Any, vectors_of: Any
) -> None:
    texts = ["one", "two|parts", "three", "a much longer one", "five"] * 5
    async with make_batcher(make_encoder()) as batcher:
        answer = await submit(batcher, *texts)

    assert len(answer.outcomes) == len(texts)
    for text, outcome in zip(texts, answer.outcomes, strict=True):
        assert isinstance(outcome, Encoded)
        assert np.array_equal(outcome.vectors, vectors_of(text))


async def test_what_arrives_while_the_model_runs_runs_together(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        tasks = [await hold_up(batcher, encoder)]
        tasks += [submit(batcher, text) for text in ("aa", "bb", "cc")]
        await settle()
        encoder.gate.release(100)
        answers = await asyncio.gather(*tasks)

    assert encoder.runs == [["first"], ["aa", "bb", "cc"]]
    assert [answer.batch_rows for answer in answers] == [1, 3, 3, 3]


async def test_large_requests_are_split_and_sorted_by_length(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder()
    async with make_batcher(encoder) as batcher:
        await submit(batcher, *("x" * length for length in (30, 3, 9, 2, 1, 1, 1)))

    assert [[len(text) for text in run] for run in encoder.runs] == [[1, 1, 1, 2], [3, 9], [30]]


async def test_interactive_goes_before_bulk(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        tasks = [await hold_up(batcher, encoder)]
        tasks += [submit(batcher, "bulk", priority=BULK), submit(batcher, "asked")]
        await settle()
        encoder.gate.release(100)
        await asyncio.gather(*tasks)

    assert encoder.runs == [["first"], ["asked"], ["bulk"]]


async def test_bulk_gives_way_between_two_runs(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        bulk = submit(batcher, *(f"bulk{number:02}" for number in range(8)), priority=BULK)
        await asyncio.to_thread(encoder.wait_for_run)
        asked = submit(batcher, "asked")
        await settle()
        encoder.gate.release(2)
        await asked
        assert not bulk.done()
        encoder.gate.release(100)
        answer = await bulk

    assert [len(run) for run in encoder.runs] == [4, 1, 4]
    assert encoder.runs[1] == ["asked"]
    assert all(isinstance(outcome, Encoded) for outcome in answer.outcomes)
    assert len(encoder.prepared) == 2, "what gave way is not prepared again"


async def test_bulk_is_not_starved(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        tasks = [await hold_up(batcher, encoder)]
        tasks.append(submit(batcher, "bulk", priority=BULK))
        # Somebody always waits, each with an epoch's work.
        tasks += [submit(batcher, f"{number:064}") for number in range(PATIENCE + 2)]
        await settle()
        encoder.gate.release(100)
        await asyncio.gather(*tasks)

    assert encoder.runs.index(["bulk"]) == PATIENCE + 1
    assert len(encoder.runs) == PATIENCE + 4


async def test_a_bad_item_fails_alone(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    async with make_batcher(make_encoder()) as batcher:
        answer = await submit(batcher, "good", "bad", "fine")

    kinds = [type(outcome) for outcome in answer.outcomes]
    assert kinds == [Encoded, InvalidContentError, Encoded]


async def test_a_poisoned_run_is_bisected(
    make_batcher: MakeBatcher, make_encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make_encoder()
    async with make_batcher(encoder) as batcher:
        answer = await submit(batcher, "aaaaaa", "poison", "bbbbbb", "cccccc")

    kinds = [type(outcome) for outcome in answer.outcomes]
    assert kinds == [Encoded, InternalError, Encoded, Encoded]
    assert encoder.runs == [
        ["aaaaaa", "poison", "bbbbbb", "cccccc"],
        ["aaaaaa", "poison"],
        ["aaaaaa"],
        ["poison"],
        ["bbbbbb", "cccccc"],
    ]
    assert "failed on one item" in caplog.text


async def test_poison_does_not_reach_other_requests(
    make_batcher: MakeBatcher, make_encoder: Any, vectors_of: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        tasks = [await hold_up(batcher, encoder)]
        tasks += [submit(batcher, text) for text in ("poison", "victim", "nan...")]
        await settle()
        encoder.gate.release(100)
        _, poison, victim, nan = await asyncio.gather(*tasks)

    assert isinstance(poison.outcomes[0], InternalError)
    assert isinstance(nan.outcomes[0], InternalError)
    assert isinstance(victim.outcomes[0], Encoded)
    assert np.array_equal(victim.outcomes[0].vectors, vectors_of("victim"))


async def test_who_left_is_dropped_from_the_queue(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        first = await hold_up(batcher, encoder)
        left, stayed = submit(batcher, "left"), submit(batcher, "stayed")
        await settle()
        left.cancel()
        await settle()
        encoder.gate.release(100)
        await asyncio.gather(first, stayed)

    assert left.cancelled()
    assert encoder.runs == [["first"], ["stayed"]]


async def test_who_leaves_during_a_run_frees_the_rest(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        many = submit(batcher, *(f"{number:04}" for number in range(12)))
        await asyncio.to_thread(encoder.wait_for_run)
        many.cancel()
        await settle()
        encoder.gate.release(100)
        answer = await submit(batcher, "next")

    assert isinstance(answer.outcomes[0], Encoded)
    assert [len(run) for run in encoder.runs] == [4, 1]


async def test_a_full_queue_refuses_at_once(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder, Capacity(items=3)) as batcher:
        tasks = [await hold_up(batcher, encoder), submit(batcher, "a", "b")]
        await settle()
        with pytest.raises(OverloadedError) as refused:
            await submit(batcher, "c")
        encoder.gate.release(100)
        await asyncio.gather(*tasks)
        await submit(batcher, "c")

    assert refused.value.retry_after
    assert 0.1 <= refused.value.retry_after.total_seconds() <= 30


async def test_bytes_are_bounded_too(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder, Capacity(bytes=20)) as batcher:
        first = await hold_up(batcher, encoder)
        with pytest.raises(OverloadedError):
            await submit(batcher, "x" * 16)
        encoder.gate.release(100)
        await first
        await submit(batcher, "x" * 50)  # alone, it is let in


async def test_streams_wait_for_room(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder, Capacity(items=1)) as batcher:
        first = await hold_up(batcher, encoder)
        waiting = [submit(batcher, text, wait=True) for text in ("a", "b", "c")]
        await settle()
        assert encoder.runs == [["first"]]
        encoder.gate.release(100)
        answers = await asyncio.gather(first, *waiting)

    assert all(isinstance(answer.outcomes[0], Encoded) for answer in answers)


async def test_who_waits_for_room_may_leave(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder, Capacity(items=1)) as batcher:
        first = await hold_up(batcher, encoder)
        left, stayed = submit(batcher, "left", wait=True), submit(batcher, "stayed", wait=True)
        await settle()
        left.cancel()
        encoder.gate.release(100)
        await asyncio.gather(first, stayed)

    assert encoder.runs == [["first"], ["stayed"]]


async def test_the_next_epoch_is_prepared_while_one_runs(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(prefetches=True, gated=True)
    async with make_batcher(encoder) as batcher:
        tasks = [await hold_up(batcher, encoder)]
        tasks += [submit(batcher, text * 30) for text in "ab"]
        tasks += [submit(batcher, "c" * 60)]
        await assert_eventually(lambda: len(encoder.prepared) == 3)
        await settle()
        assert encoder.prepared == [["first"], ["a" * 30], ["b" * 30]], "one epoch, no more"
        encoder.gate.release(100)
        await asyncio.gather(*tasks)

    prepared = [text for call in encoder.prepared for text in call]
    assert sorted(prepared) == sorted(["first", "a" * 30, "b" * 30, "c" * 60]), "each once"


async def test_what_cannot_be_prepared_ahead_is_answered(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(prefetches=True, gated=True)
    async with make_batcher(encoder) as batcher:
        first = await hold_up(batcher, encoder)
        bad = submit(batcher, "bad")
        answer = await asyncio.wait_for(bad, timeout=10)
        assert not first.done()
        encoder.gate.release(100)
        await first

    assert isinstance(answer.outcomes[0], InvalidContentError)


async def test_timings_tell_waiting_from_running(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        first = await hold_up(batcher, encoder)
        second = submit(batcher, "second")
        await settle()
        begun = time.monotonic()
        await settle()
        waited = timedelta(seconds=time.monotonic() - begun)
        encoder.gate.release(100)
        timings = [answer.timings for answer in await asyncio.gather(first, second)]

    assert timings[1].queue >= waited
    assert all(each.inference.total_seconds() > 0 for each in timings)


async def test_closing_finishes_what_runs_and_refuses_the_rest(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder(gated=True)
    async with make_batcher(encoder) as batcher:
        first = await hold_up(batcher, encoder)
        second = submit(batcher, "second")
        await settle()
        asyncio.get_running_loop().call_later(0, encoder.gate.release, 100)

    assert isinstance((await first).outcomes[0], Encoded)
    assert isinstance((await second).outcomes[0], BackendUnavailableError)
    with pytest.raises(BackendUnavailableError):
        await submit(batcher, "third")
