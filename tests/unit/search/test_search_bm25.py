"""Our own BM25, against the formula written out plainly."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from lookalike_search.adapters.milvus.bm25 import (
    pack_sparse,
    rarity,
    weigh_text,
    word_number,
    words_of,
)
from lookalike_search.adapters.milvus.connection import Message
from lookalike_search.adapters.milvus.word_counts import Place, WordCounts

PLACE = Place("", "c", "k_text")


def unpack(data: bytes) -> dict[int, float]:
    pairs = [struct.unpack_from("<If", data, at) for at in range(0, len(data), 8)]
    assert [number for number, _ in pairs] == sorted({number for number, _ in pairs})
    return dict(pairs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red fox", ["a", "red", "fox"]),
        ("Füchse, rot—und  2 (zwei)!", ["füchse", "rot", "und", "2", "zwei"]),
        ("snake_case don't", ["snake_case", "don", "t"]),
        ("漢字 かな", ["漢字", "かな"]),
        (" ?! ", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_weights_by_the_formula() -> None:
    # A text of usual length: tf · (k1 + 1) / (tf + k1).
    usual = " ".join(["fox", "fox", *(f"w{n}" for n in range(30))])
    assert weigh_text(usual)["fox"] == pytest.approx(2 * 2.2 / (2 + 1.2))
    assert weigh_text(usual)["w0"] == pytest.approx(1)
    # One of double length: tf · (k1 + 1) / (tf + k1 · (1 - b + 2 b)).
    assert weigh_text(f"{usual} {usual}")["w0"] == pytest.approx(2 * 2.2 / (2 + 1.2 * 1.75))
    assert weigh_text("") == {}
    assert weigh_text("fox")["fox"] > weigh_text("fox " + "x " * 99)["fox"]


def test_rarity_by_the_formula() -> None:
    assert rarity(3, 10) == pytest.approx(math.log(1 + 7.5 / 3.5))
    assert rarity(0, 10) > rarity(1, 10) > rarity(9, 10) > rarity(10, 10) > 0
    assert rarity(12, 10) > 0  # counted at different times


@given(st.dictionaries(st.text(min_size=1), st.floats(0.125, 100, width=32), min_size=1))
def test_packed_weights(weights: dict[str, float]) -> None:
    found = unpack(pack_sparse(weights).data)
    assert all(0 < number < 2**32 - 1 for number in found)
    assert sum(found.values()) == pytest.approx(sum(weights.values()), rel=1e-5)
    assert found.keys() == {word_number(each) for each in weights}


def test_no_words_are_something_that_no_word_finds() -> None:
    assert unpack(pack_sparse({}).data) == {0: 1.0}


class Corpus:
    """Answers as Milvus would for words that so many of 100 texts have."""

    def __init__(self, **counts: int) -> None:
        self._by_number = {word_number(word): count for word, count in counts.items()}
        self.asked: list[int] = []
        self.now = 0.0

    async def read(self, tenant: str, storage: str, call: str, request: Message) -> Message:
        assert (tenant, storage) == ("", "c")
        if call == "Query":
            reply = milvus_pb2.QueryResults()
            reply.fields_data.add().scalars.long_data.data.append(100)
            return reply
        numbers = [next(iter(unpack(each))) for each in _values(request)]
        self.asked += numbers
        counts = [self._by_number.get(each, 0) for each in numbers]
        return milvus_pb2.SearchResults(results=schema_pb2.SearchResultData(topks=counts))


def _values(request: Message) -> Sequence[bytes]:
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    return list(group.placeholders[0].values)


async def test_words_are_worth_more_the_rarer_and_the_oftener_they_come() -> None:
    corpus = Corpus(the=90, fox=2)
    counts = WordCounts(corpus.read, lambda: corpus.now)
    worth = await counts.weigh(PLACE, ["the", "fox", "the", "unknown"])
    assert worth == {
        "the": pytest.approx(2 * rarity(90, 100)),
        "fox": pytest.approx(rarity(2, 100)),
        "unknown": pytest.approx(rarity(0, 100)),
    }
    assert sorted(corpus.asked) == sorted(map(word_number, ["the", "fox", "unknown"]))


async def test_counts_are_remembered_the_longer_the_more_they_cost() -> None:
    corpus = Corpus(the=90, fox=2)
    counts = WordCounts(corpus.read, lambda: corpus.now)
    await counts.weigh(PLACE, ["the", "fox"])
    corpus.asked.clear()
    corpus.now = 1.9
    await counts.weigh(PLACE, ["the", "fox"])
    assert corpus.asked == []
    corpus.now = 3
    await counts.weigh(PLACE, ["the", "fox"])
    assert corpus.asked == [word_number("fox")]
    corpus.now = 4
    await counts.weigh(PLACE, ["the"])
    assert corpus.asked == [word_number("fox"), word_number("the")]
    elsewhere = Place("", "c", "k_title")
    await counts.weigh(elsewhere, ["the"])
    assert corpus.asked[2:] == [word_number("the")]


async def test_words_are_counted_once_however_many_ask() -> None:
    corpus = Corpus(the=90, fox=2)
    counts = WordCounts(corpus.read, lambda: corpus.now)
    answers = await asyncio.gather(
        *(counts.weigh(PLACE, ["the", f"w{number}"]) for number in range(100))
    )
    assert {each["the"] for each in answers} == {rarity(90, 100)}
    assert corpus.asked.count(word_number("the")) == 1
    assert len(corpus.asked) == 101
