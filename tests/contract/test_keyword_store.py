"""What every `VectorStore` with keyword queries must do with words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import numpy as np
import pytest

from lookalike_common.errors import NotFoundError
from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.adapters.milvus.bm25 import rarity, weigh_text, words_of
from lookalike_search.filters import check, parse
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    Consistency,
    EntityRecord,
    Neighbor,
    Projection,
    StoredCollection,
)
from lookalike_search.store import Freshness, VectorStore
from tests.contract.conftest import Factory
from tests.contract.test_vector_store import read, record, write
from tests.support.milvus_process import MilvusProcess

TITLE = AttributeSpec(
    name="title", type=AttributeType.STRING, nullable=True, full_text=True, analyzer="standard"
)
PRICE = AttributeSpec(name="price", type=AttributeType.INT, filterable=True, nullable=True)


@pytest.fixture(params=["as the backend does", "by Milvus itself"])
async def store(store: MilvusStore, request: pytest.FixtureRequest) -> MilvusStore:
    """Return the store, also in the way in which words are stored on servers.

    No server of 2.5 or later is at hand, so that way is tried out on Milvus Lite.
    """
    if request.param == "by Milvus itself":
        dialect = store._known_dialect()
        if not dialect.capabilities.analyzers:
            pytest.skip(f"{dialect.capabilities.backend} has no keyword queries")
        store._dialect = replace(dialect, native_words=True)
    return store


@pytest.fixture
async def words(store: VectorStore, factory: Factory) -> StoredCollection:
    if not store.capabilities.analyzers:
        pytest.skip(f"{store.capabilities.backend} has no keyword queries")
    spec = factory.spec(attributes=(TITLE, PRICE))
    return await factory.create(replace(spec, text_analyzer="standard"))


def told(number: int, text: str = "", **attributes: str | int) -> EntityRecord:
    return record(number, text=text, attributes=attributes)


async def look_up(
    store: VectorStore,
    collection: StoredCollection,
    words: str,
    *,
    attribute: str = "",
    limit: int = 10,
    filter_text: str = "",
) -> list[Neighbor]:
    types = {each.name: each.type for each in collection.spec.attributes}
    return await store.keyword_search(
        "",
        collection,
        attribute,
        words,
        limit=limit,
        where=check(parse(filter_text), types) if filter_text else None,
        projection=Projection(),
        freshness=Freshness(consistency=Consistency.STRONG),
    )


def ids(neighbors: list[Neighbor]) -> list[str]:
    return [each.record.id for each in neighbors]


async def test_any_word_matches_and_rarer_ones_count_more(
    store: VectorStore, words: StoredCollection
) -> None:
    texts = ["a red fox", "a red car", "a blue car", "a green car", "a dog"]
    await write(store, words, [told(n, text) for n, text in enumerate(texts)])
    found = await look_up(store, words, "red fox")
    assert ids(found) == ["e00000", "e00001"]
    assert found[0].score > found[1].score > 0
    assert found[0].distance is None
    assert (found[0].record.text, found[0].record.item) == ("a red fox", "item-0")
    assert ids(await look_up(store, words, "fox car"))[0] == "e00000"
    assert await look_up(store, words, "horse") == []


async def test_case_and_punctuation_do_not_matter_but_stay_in_the_text(
    store: VectorStore, words: StoredCollection
) -> None:
    text = "Der FUCHS, (rot) läuft!"
    await write(store, words, [told(1, text), told(2, "nichts")])
    for query in ("fuchs", "Fuchs", "ROT", "läuft", "LÄUFT", '"rot"', "fuchs OR nothing"):
        found = await look_up(store, words, query)
        assert ids(found) == ["e00001"], query
        assert found[0].record.text == text


@pytest.mark.parametrize("query", ["", " ", "?!", "…", "\n"])
async def test_without_a_word_nothing_matches(
    store: VectorStore, words: StoredCollection, query: str
) -> None:
    await write(store, words, [told(1, "a text ? ! …"), told(2, "?!"), told(3)])
    assert await look_up(store, words, query) == []


async def test_equal_scores_are_ordered_by_id(store: VectorStore, words: StoredCollection) -> None:
    await write(store, words, [told(n, "the same words") for n in (5, 3, 9, 1)])
    found = await look_up(store, words, "words")
    assert ids(found) == ["e00001", "e00003", "e00005", "e00009"]
    assert len({each.score for each in found}) == 1
    assert len(await look_up(store, words, "words", limit=2)) == 2


async def test_changed_and_deleted_texts_are_found_no_more(
    store: VectorStore, words: StoredCollection
) -> None:
    await write(store, words, [told(1, "old words"), told(2, "old words"), told(3, "old words")])
    await write(store, words, [told(1, "new words")])
    async with store.exclusive("", words):
        await store.delete("", words, ["e00002"])
    assert ids(await look_up(store, words, "old")) == ["e00003"]
    assert ids(await look_up(store, words, "new")) == ["e00001"]
    assert ids(await look_up(store, words, "words")) == ["e00001", "e00003"]
    assert (await read(store, words, "e00001"))["e00001"].text == "new words"


async def test_filtered(store: VectorStore, words: StoredCollection) -> None:
    await write(store, words, [told(n, "a red fox", price=n) for n in range(6)])
    found = await look_up(store, words, "fox", filter_text="price >= 4")
    assert ids(found) == ["e00004", "e00005"]
    assert await look_up(store, words, "fox", filter_text="price > 9") == []


async def test_attributes_have_words_of_their_own(
    store: VectorStore, words: StoredCollection
) -> None:
    await write(
        store,
        words,
        [told(1, "a fox", title="A Dog"), told(2, "a dog", title="A Fox"), told(3, "a fox")],
    )
    assert ids(await look_up(store, words, "fox", attribute="title")) == ["e00002"]
    assert ids(await look_up(store, words, "fox")) == ["e00001", "e00003"]
    found = (await look_up(store, words, "dog", attribute="title"))[0].record
    assert found.attributes == {"title": "A Dog"}
    # A full text has a column, which filters use; what it says stays the same.
    assert ids(await look_up(store, words, "fox", filter_text='title = "A Dog"')) == ["e00001"]
    assert ids(await look_up(store, words, "fox", filter_text="NOT title:*")) == ["e00003"]


async def test_facts_come_back(store: VectorStore, words: StoredCollection) -> None:
    resolved = await store.resolve("", words.spec.id)
    assert resolved == words
    assert [each.attribute for each in resolved.spec.keyword_indexes] == ["", "title"]


async def test_dropped_collection_is_missing(store: VectorStore, words: StoredCollection) -> None:
    await store.drop("", words)
    with pytest.raises(NotFoundError):
        await look_up(store, words, "fox")


def reference(texts: dict[str, str], query: str) -> list[tuple[str, float]]:
    """Return ids and scores, worked out from all texts, with weights of single precision."""
    weights = {each: weigh_text(text) for each, text in texts.items()}
    scores = dict.fromkeys(texts, 0.0)
    for word in dict.fromkeys(words_of(query)):
        found = [each for each, weight in weights.items() if word in weight]
        for each in found:
            worth = np.float32(words_of(query).count(word) * rarity(len(found), len(texts)))
            scores[each] += float(worth) * float(np.float32(weights[each][word]))
    rounded = {each: float(np.float32(score)) for each, score in scores.items()}
    ranked = sorted(rounded.items(), key=lambda pair: (-pair[1], pair[0]))
    return [pair for pair in ranked if pair[1]]


@pytest.mark.parametrize("store", ["as the backend does"], indirect=True)
async def test_rank_does_not_depend_on_when_a_row_was_written(
    store: MilvusStore, words: StoredCollection
) -> None:
    if store.capabilities.backend != "milvus-lite":
        pytest.skip("servers have a formula of their own")
    random = Random(5)
    vocabulary = [f"w{n}" for n in range(60)]
    # Some words are frequent, most are rare, as in any language.
    texts = {
        f"e{n:05d}": " ".join(
            random.choices(vocabulary, [1 / (n + 1) for n in range(60)], k=random.randint(1, 50))
        )
        for n in range(300)
    }
    rows = [told(n, text) for n, text in enumerate(texts.values())]
    for start, end in ((0, 280), (280, 290), (290, 299), (299, 300)):
        await write(store, words, rows[start:end])
        if end < 300:  # what comes last stays unflushed
            await assert_eventually(lambda: not store.has_unflushed_rows)
    for query in ("w0 w7 w40", "w59", "w1 w1 w30", "w0"):
        wanted = reference(texts, query)
        found = await look_up(store, words, query, limit=300)
        assert ids(found) == [each for each, _ in wanted], query
        assert [each.score for each in found] == pytest.approx(
            [score for _, score in wanted], rel=1e-5
        )


async def test_words_survive_a_kill(
    milvus_process: MilvusProcess, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("milvus") == "server":
        pytest.skip("Milvus 2.3.5 has no keyword queries")
    with milvus_process as milvus:
        async with MilvusStore(milvus.uri) as store:
            assert await store.wait_until_available(timedelta(seconds=30))
            factory = Factory(store, "words")
            spec = replace(factory.spec(attributes=(TITLE, PRICE)), text_analyzer="standard")
            collection = await factory.create(spec)
            texts = ["a red fox", "a red car", "a blue car", "a dog"]
            await write(store, collection, [told(n, text) for n, text in enumerate(texts)])
            await assert_eventually(lambda: not store.has_unflushed_rows)
            await write(store, collection, [told(4, "another fox"), told(1, "a red bus")])
            async with store.exclusive("", collection):
                await store.delete("", collection, ["e00002"])
            before = [await look_up(store, collection, each) for each in ("red fox", "car", "bus")]
            assert [len(each) for each in before] == [3, 0, 1]
            milvus.kill()
            await assert_eventually(lambda: not store.available)
            milvus.start()
            assert await store.wait_until_available(timedelta(seconds=60))
            after = [await look_up(store, collection, each) for each in ("red fox", "car", "bus")]
            assert after == before
