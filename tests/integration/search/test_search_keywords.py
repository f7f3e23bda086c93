"""Keyword queries and hybrid search through the service."""

from __future__ import annotations

import math
from typing import Final

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from tests.support.search_client import (
    Attribute,
    SearchClient,
    by_text,
    by_vector,
    by_words,
    entity,
    ids,
)
from tests.support.toy_encoder import TEXT

pytestmark = pytest.mark.feature("keyword")

TEXTS: Final = {
    "a": "a cat on the mat",
    "b": "a cat and another cat",
    "c": "a dog on the mat",
    "d": "nothing of the kind",
    "e": "a dog and a bird",
}
ATTRIBUTES: Final = [
    Attribute(name="title", type=Attribute.TYPE_STRING, full_text=True, nullable=True),
    Attribute(name="kind", type=Attribute.TYPE_STRING, filterable=True, nullable=True),
]


@pytest.fixture(autouse=True)
def _words_are_known(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("milvus") == "server":
        pytest.skip("Milvus 2.3.5 refuses keyword queries by name")


async def library(client: SearchClient) -> str:
    """Five texts; with vectors that turn away from (1, 0, 0) from `a` to `e`."""
    name = await client.create(attributes=ATTRIBUTES, text_index=collection_pb2.TextIndex())
    await client.upsert(
        name,
        *(
            entity(
                name,
                each,
                *(math.cos(n / 4), math.sin(n / 4), 0),
                text=text,
                item=f"item{n // 2}",
                attributes={"kind": "odd" if n % 2 else "even", "title": f"Number {n}"},
            )
            for n, (each, text) in enumerate(TEXTS.items())
        ),
    )
    return name


async def test_collection_says_what_is_indexed(client: SearchClient) -> None:
    name = await library(client)
    request = collection_service_pb2.GetCollectionRequest(name=name)
    found: collection_pb2.Collection = await client.collections.GetCollection(request)
    assert found.text_index.analyzer == "standard"
    assert [(each.full_text, each.analyzer) for each in found.attributes] == [
        (True, "standard"),
        (False, ""),
    ]
    other = await client.create()
    request = collection_service_pb2.GetCollectionRequest(name=other)
    assert not (await client.collections.GetCollection(request)).HasField("text_index")


async def test_by_words(client: SearchClient) -> None:
    name = await library(client)
    reply = await client.search(name, by_words("Cat!"))
    assert ids(reply.hits) == ["b", "a"]
    assert reply.hits[0].score > reply.hits[1].score > 0
    assert not reply.hits[0].HasField("distance")
    assert reply.hits[0].entity.text == TEXTS["b"]
    assert math.isclose(reply.best_score, reply.hits[0].score)
    assert not reply.abstained
    assert ids((await client.search(name, by_words("2", attribute="title"))).hits) == ["c"]


@pytest.mark.parametrize("words", ["?!", " ", "unicorn"])
async def test_nothing_matches(client: SearchClient, words: str) -> None:
    name = await library(client)
    reply = await client.search(name, by_words(words))
    assert (list(reply.hits), reply.abstained) == ([], False)
    assert not reply.HasField("best_score")


async def test_filter_and_scores_bound_what_is_found(client: SearchClient) -> None:
    name = await library(client)
    reply = await client.search(name, by_words("dog"), filter='kind = "even"')
    assert ids(reply.hits) == ["c", "e"]
    scores = {hit.entity.name[-1]: hit.score for hit in reply.hits}
    assert scores["c"] == scores["e"]
    cats = (await client.search(name, by_words("cat"))).hits
    middle = (cats[0].score + cats[1].score) / 2
    assert ids((await client.search(name, by_words("cat", min_score=middle))).hits) == ["b"]
    assert ids((await client.search(name, by_words("cat", max_score=middle))).hits) == ["a"]
    strict = await client.search(name, by_words("cat", min_score=100))
    assert strict.abstained
    assert strict.best_score == cats[0].score


async def test_pages_and_groups(client: SearchClient) -> None:
    name = await library(client)
    first = await client.search(name, by_words("a the"), top_k=2)
    token = first.next_page_token
    second = await client.search(name, by_words("a the"), top_k=2, page_token=token)
    token = second.next_page_token
    third = await client.search(name, by_words("a the"), top_k=2, page_token=token)
    whole = await client.search(name, by_words("a the"))
    assert ids([*first.hits, *second.hits, *third.hits]) == ids(whole.hits)
    assert len(whole.hits) == 5
    assert not third.next_page_token
    grouped = await client.search(
        name, by_words("a the"), group_by=search_service_pb2.GroupBy(field="item", size=2)
    )
    found = {each.key.string_value: sorted(ids(each.hits)) for each in grouped.groups}
    assert found == {"item0": ["a", "b"], "item1": ["c", "d"], "item2": ["e"]}


async def test_hybrid_says_what_each_query_contributed(client: SearchClient) -> None:
    name = await library(client)
    vector, words = by_vector(1, 0, 0), by_words("dog", weight=2)
    reply = await client.search(name, vector, words, explain=True)
    # By rank: c is third by vector and first by words, e is fifth and second.
    assert ids(reply.hits) == ["c", "e", "a", "b", "d"]
    told = {
        hit.entity.name[-1]: [(each.query, each.rank) for each in hit.contributions]
        for hit in reply.hits
    }
    assert told == {
        "c": [(0, 3), (1, 1)],
        "e": [(0, 5), (1, 2)],
        "a": [(0, 1)],
        "b": [(0, 2)],
        "d": [(0, 4)],
    }
    assert math.isclose(reply.hits[0].score, 1 / 63 + 2 / 61, rel_tol=1e-6)
    only = (await client.search(name, by_words("dog"))).hits[0].score
    assert reply.hits[0].contributions[1].score == only


async def test_hybrid_by_scores(client: SearchClient) -> None:
    name = await library(client)
    queries = by_vector(1, 0, 0), by_words("cat", weight=0.5)
    reply = await client.search(name, *queries, fusion=search_service_pb2.FUSION_WEIGHTED)
    scores = {hit.entity.name[-1]: hit.score for hit in reply.hits}
    # Stretched to 0..1 first: `b` is the best by words, `a` the best by vector, the last by words.
    turned = [(math.cos(n / 4) - math.cos(1)) / (1 - math.cos(1)) for n in range(5)]
    assert math.isclose(scores["a"], 1, rel_tol=1e-5)
    assert math.isclose(scores["b"], turned[1] + 0.5, rel_tol=1e-5)
    assert math.isclose(scores["c"], turned[2], rel_tol=1e-5)


async def test_words_and_content_of_one_text(client: SearchClient) -> None:
    name = await client.create(
        collection_pb2.VectorField(encoder=TEXT), text_index=collection_pb2.TextIndex()
    )
    texts = {"listen": "listen", "silent": "silent", "other": "quite another"}
    await client.upsert(
        name, *(entity(name, each, text_content=text, text=text) for each, text in texts.items())
    )
    # The toy encoder knows letters only, so both are the same to it.
    by_letters = await client.search(name, by_text("silent"), top_k=2)
    assert by_letters.hits[0].score == by_letters.hits[1].score
    reply = await client.search(name, by_text("silent"), by_words("silent"), top_k=2)
    assert ids(reply.hits) == ["silent", "listen"]


async def test_changed_texts_are_found_by_their_new_words(client: SearchClient) -> None:
    name = await library(client)
    changed = entity(name, "a", text="a horse", attributes={"title": "Renamed"})
    await client.entities.UpdateEntity(
        entity_service_pb2.UpdateEntityRequest(
            entity=changed, update_mask=FieldMask(paths=["text", "attributes.title"])
        )
    )
    assert ids((await client.search(name, by_words("horse"))).hits) == ["a"]
    assert ids((await client.search(name, by_words("cat"))).hits) == ["b"]
    assert ids((await client.search(name, by_words("renamed", attribute="title"))).hits) == ["a"]
    assert not (await client.search(name, by_words("0", attribute="title"))).hits


async def test_long_texts_have_all_their_words(client: SearchClient) -> None:
    name = await library(client)
    text = " ".join(f"w{number}" for number in range(10_900))
    assert 60_000 < len(text) <= 65_535
    await client.upsert(name, entity(name, "long", 1, 0, 0, text=text))
    assert ids((await client.search(name, by_words("w10899"))).hits) == ["long"]
    many = " ".join(f"w{number}" for number in range(840))
    assert 4000 < len(many) <= 4096
    assert ids((await client.search(name, by_words(many))).hits) == ["long"]
