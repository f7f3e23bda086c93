"""Vectors of queries are kept: found again, bounded, never an error, never another tenant's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import InvalidContentError, LookalikeError
from lookalike_search.encoding import Content, ContentKind, EncoderFacts, Relation
from lookalike_search.model import Bits, Task, Vector
from lookalike_search.query_cache import (
    ENTRY_BYTES,
    QueryCache,
    QueryCacheMetrics,
    RememberingEncoder,
)

NAME = "encoders/e@1"


class CountingEncoder:
    """Makes of a text a vector of its length; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def describe(self, encoder: str) -> EncoderFacts:
        raise NotImplementedError(encoder)

    async def rerank(self, *asked: Any) -> list[float | LookalikeError]:
        return [0.5 for _ in asked[2]]

    async def match_structure(self, *asked: Any) -> list[bool | LookalikeError]:
        return [True for _ in asked[3]]

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        assert encoder == NAME
        assert fingerprint
        assert task
        texts = [each.data.decode() for each in contents]
        self.asked.append(texts)
        return [
            InvalidContentError("no") if text == "bad" else np.full(4, len(text), np.float32)
            for text in texts
        ]


def text(value: str) -> Content:
    return Content(kind=ContentKind.TEXT, data=value.encode())


def remembering(max_bytes: int = 1 << 20) -> tuple[RememberingEncoder, CountingEncoder, Any]:
    registry = CollectorRegistry()
    inner = CountingEncoder()
    cache = QueryCache(max_bytes, QueryCacheMetrics(registry))
    return RememberingEncoder(inner, cache), inner, registry.get_sample_value


async def encode(
    encoder: RememberingEncoder, *texts: str, fingerprint: str = "f", task: Task = Task.QUERY
) -> list[Any]:
    return await encoder.encode(NAME, fingerprint, [text(each) for each in texts], task)


async def test_what_was_asked_before_is_not_encoded_again() -> None:
    encoder, inner, value = remembering()
    await encode(encoder, "a", "bb")
    found = await encode(encoder, "bb", "ccc", "a")
    assert [each.tolist() for each in found] == [[2.0] * 4, [3.0] * 4, [1.0] * 4]
    assert inner.asked == [["a", "bb"], ["ccc"]]
    assert value("lookalike_search_query_cache_hits_total") == 2
    assert value("lookalike_search_query_cache_misses_total") == 3
    assert value("lookalike_search_query_cache_bytes") == 3 * (ENTRY_BYTES + 16)


async def test_the_same_content_twice_in_one_call_is_encoded_once() -> None:
    encoder, inner, _ = remembering()
    found = await encode(encoder, "a", "bad", "a", "bad")
    assert inner.asked == [["a", "bad"]]
    assert found[0] is found[2]
    assert all(isinstance(each, InvalidContentError) for each in (found[1], found[3]))


async def test_errors_are_not_kept() -> None:
    encoder, inner, _ = remembering()
    for _ in range(2):
        [error] = await encode(encoder, "bad")
        assert isinstance(error, InvalidContentError)
    assert inner.asked == [["bad"]] * 2


async def test_another_fingerprint_tenant_or_kind_is_another_entry() -> None:
    encoder, inner, _ = remembering()
    await encode(encoder, "a")
    await encode(encoder, "a", fingerprint="g")
    with use_context(RequestContext(tenant="other")):
        await encode(encoder, "a")
    await encoder.encode(NAME, "f", [Content(kind=ContentKind.SMILES, data=b"a")], Task.QUERY)
    assert inner.asked == [["a"]] * 4


async def test_documents_are_neither_kept_nor_looked_for() -> None:
    encoder, inner, value = remembering()
    await encode(encoder, "a")
    await encode(encoder, "a", task=Task.DOCUMENT)
    await encode(encoder, "b", task=Task.DOCUMENT)
    await encode(encoder, "b")
    assert inner.asked == [["a"], ["a"], ["b"], ["b"]]
    assert value("lookalike_search_query_cache_misses_total") == 2


async def test_a_content_that_is_large() -> None:
    encoder, inner, _ = remembering()
    for _ in range(2):
        await encode(encoder, "x" * 300_000)
    assert len(inner.asked) == 1


async def test_the_rest_goes_through() -> None:
    encoder, _, _ = remembering()
    assert await encoder.rerank(NAME, "query", ["a"]) == [0.5]
    assert await encoder.match_structure(NAME, "C", Relation.SAME, ["C"]) == [True]


@settings(deadline=None)
@given(
    asked=st.lists(st.integers(0, 20), max_size=60),
    room=st.integers(0, 6),
)
def test_it_holds_what_was_used_last(asked: list[int], room: int) -> None:
    cache = QueryCache(room * (ENTRY_BYTES + 4), QueryCacheMetrics(CollectorRegistry()))
    used: list[int] = []
    for number in asked:
        key = ("", "f", bytes([number]))
        assert (cache.get(key) is not None) == (number in used[-room:] if room else False)
        cache.put(key, Bits(bytes([number] * 4), 32))
        used = [*(each for each in used if each != number), number]
        assert cache.size <= room * (ENTRY_BYTES + 4)
