"""What every `VectorStore` with keyword queries must do with words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lookalike_common.errors import NotFoundError
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
from tests.contract.test_vector_store import read, record, write

if TYPE_CHECKING:
    from tests.contract.conftest import Factory

TITLE = AttributeSpec(
    name="title", type=AttributeType.STRING, nullable=True, full_text=True, analyzer="standard"
)
PRICE = AttributeSpec(name="price", type=AttributeType.INT, filterable=True, nullable=True)


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
    await write(store, words, [told(1, "a text ? ! …")])
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
