"""Results kept by what they were made of: found again, bounded, never an error, never another's."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lookalike_encoder.batching import Batcher
from lookalike_encoder.cache import CacheMetrics, ResultCache, item_key
from lookalike_encoder.content import (
    Answer,
    Encoded,
    ImageContent,
    Item,
    Operation,
    Priority,
    SequenceContent,
    SmilesContent,
    Task,
    TextContent,
)
from lookalike_media import Box

MakeBatcher = Callable[..., Batcher]
ENTRY = 512 + 8 * 4  # eight dimensions and what an entry takes


def make_cache(max_bytes: int = 1 << 20) -> tuple[ResultCache, CollectorRegistry]:
    registry = CollectorRegistry()
    return ResultCache(max_bytes, CacheMetrics(registry)), registry


async def encode(batcher: Batcher, *texts: str) -> Answer:
    items = [Item(TextContent(text)) for text in texts]
    return await batcher.encode(items, Priority.INTERACTIVE)


async def test_what_was_encoded_is_not_run_again(
    make_batcher: MakeBatcher, make_encoder: Any, vectors_of: Any
) -> None:
    encoder = make_encoder()
    cache, registry = make_cache()
    async with make_batcher(encoder, cache=cache) as batcher:
        await encode(batcher, "one", "two|parts")
        again = await encode(batcher, "two|parts", "three", "one")
        whole = await encode(batcher, "three")

    assert sorted(text for run in encoder.runs for text in run) == ["one", "parts", "three", "two"]
    for text, outcome in zip(("two|parts", "three", "one"), again.outcomes, strict=True):
        assert isinstance(outcome, Encoded)
        assert np.array_equal(outcome.vectors, vectors_of(text))
    assert whole.batch_rows == 0
    assert not whole.timings.inference
    value = registry.get_sample_value
    assert value("lookalike_encoder_cache_hits_total", {"encoder": "fake@1"}) == 3
    assert value("lookalike_encoder_cache_misses_total", {"encoder": "fake@1"}) == 3
    assert value("lookalike_encoder_cache_bytes") == cache.size == 3 * ENTRY + 32


async def test_errors_are_not_kept(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder()
    async with make_batcher(encoder, cache=make_cache()[0]) as batcher:
        for _ in range(2):
            answer = await encode(batcher, "poison", "bad", "good")
            assert [isinstance(each, Encoded) for each in answer.outcomes] == [False, False, True]

    first = encoder.runs.index(["poison"])
    assert encoder.runs[first:] == [["poison"], ["poison"]]


async def test_the_same_at_the_same_time_is_answered_alike(
    make_batcher: MakeBatcher, make_encoder: Any, vectors_of: Any
) -> None:
    cache, _ = make_cache()
    async with make_batcher(make_encoder(), cache=cache) as batcher:
        answers = await asyncio.gather(*(encode(batcher, "same", "same") for _ in range(20)))

    for answer in answers:
        for outcome in answer.outcomes:
            assert isinstance(outcome, Encoded)
            assert np.array_equal(outcome.vectors, vectors_of("same"))
    assert cache.size == ENTRY


async def test_what_was_not_used_for_longest_goes(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    encoder = make_encoder()
    cache, _ = make_cache(2 * ENTRY)
    async with make_batcher(encoder, cache=cache) as batcher:
        for text in ("a", "b", "a", "c", "a", "b"):
            await encode(batcher, text)

    assert encoder.runs == [["a"], ["b"], ["c"], ["b"]]
    assert cache.size == 2 * ENTRY


async def test_what_is_larger_than_the_cache_is_not_kept(
    make_batcher: MakeBatcher, make_encoder: Any
) -> None:
    cache, _ = make_cache(ENTRY - 1)
    async with make_batcher(make_encoder(), cache=cache) as batcher:
        await encode(batcher, "a")
    assert cache.size == 0


async def test_large_contents_are_hashed_too(make_batcher: MakeBatcher, make_encoder: Any) -> None:
    encoder = make_encoder()
    async with make_batcher(encoder, cache=make_cache()[0]) as batcher:
        for _ in range(2):
            await encode(batcher, "x" * 300_000)
    assert len(encoder.runs) == 1


def test_every_field_is_part_of_the_key() -> None:
    box = Box(0, 0, 1, 1)
    items = [
        Item(TextContent("a")),
        Item(TextContent("a"), task=Task.QUERY),
        Item(TextContent("a"), operation=Operation.RERANK),
        Item(SmilesContent("a")),
        Item(SequenceContent("a")),
        Item(ImageContent(b"a")),
        Item(ImageContent(b"a"), (box,)),
        Item(ImageContent(b"a"), (box, box)),
        Item(TextContent("\ud800")),
    ]
    keys = {item_key(fingerprint, item) for fingerprint in (b"f", b"g") for item in items}
    assert None not in keys
    assert len(keys) == 2 * len(items)


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_only_equal_items_have_the_same_key(one: list[str], other: list[str]) -> None:
    # Sequences of texts stand for whatever fields items may have.
    items = [
        Item(TextContent(""), regions=tuple(each))  # type: ignore[arg-type] # texts for regions
        for each in (one, other)
    ]
    keys = [item_key(b"", item) for item in items]
    assert (keys[0] == keys[1]) == (one == other)


def test_what_is_not_known_has_no_key() -> None:
    unknown = Item(TextContent(""), regions=(object(),))  # type: ignore[arg-type] # wrong on purpose
    assert item_key(b"", unknown) is None
