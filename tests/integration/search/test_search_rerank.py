"""The second look at the best hits, and what a search tells about itself."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lookalike.search.v1 import collection_pb2, search_service_pb2
from lookalike_common.errors import (
    BackendUnavailableError,
    InvalidArgumentError,
    LookalikeError,
    NotFoundError,
    WrongOperationError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.status import error_from_status
from tests.support.search_client import (
    SearchClient,
    by_entity,
    by_text,
    by_vector,
    by_words,
    entity,
    failure,
    ids,
)
from tests.support.toy_encoder import IMAGE, TEXT, ToyEncoder

pytestmark = pytest.mark.feature("keyword")

TEXTS: Final = {
    "a": "red fox",
    "b": "red red fox fox bird",
    "c": "a fox that is red",
    "d": "red bird",
    "e": "",
    "f": "illegible red",
}
ATTRIBUTES: Final = {"a": "one", "b": "two", "c": "red", "d": "red fox", "e": "fox"}


@pytest.fixture(autouse=True)
def _words_are_known(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("milvus") == "server":
        pytest.skip("Milvus 2.3.5 refuses keyword queries by name")


async def texts(client: SearchClient) -> str:
    """Six entities; by vector they come in the order of their ids."""
    name = await client.create(text_index=collection_pb2.TextIndex())
    await client.upsert(
        name,
        *(
            entity(
                name,
                each,
                *(1, n / 10, 0),
                text=text,
                item="first" if n < 2 else "second",
                attributes={"note": ATTRIBUTES.get(each, 7)},
            )
            for n, (each, text) in enumerate(TEXTS.items())
        ),
    )
    return name


def rerank(**fields: Any) -> search_service_pb2.Rerank:
    return search_service_pb2.Rerank(**{"encoder": TEXT, **fields})


NEAR: Final = by_vector(1, 0, 0)


async def test_hits_come_in_the_order_of_the_reranker(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    name = await texts(client)
    queries = NEAR, by_words("red fox")
    reply = await client.search(name, *queries, rerank=rerank(), explain=True)
    # `e` has no text, `f` one that cannot be read.
    assert ids(reply.hits) == ["a", "b", "d", "c"]
    assert [hit.score for hit in reply.hits] == pytest.approx([1, 0.8, 0.5, 0.4])
    assert [hit.rank for hit in reply.hits] == [1, 2, 3, 4]
    assert not any(hit.HasField("distance") for hit in reply.hits)
    assert reply.best_score == 1
    first = reply.hits[2].contributions[0]
    assert (first.query, first.rank) == (0, 4)
    assert reply.hits[0].entity.text == TEXTS["a"]
    [asked] = toy_encoder.reranked
    assert asked.query.text == "red fox"
    assert sorted(each.text for each in asked.documents) == sorted(filter(None, TEXTS.values()))


async def test_first_text_is_compared(client: SearchClient, toy_encoder: ToyEncoder) -> None:
    name = await client.create(
        collection_pb2.VectorField(encoder=TEXT), text_index=collection_pb2.TextIndex()
    )
    await client.upsert(name, entity(name, "a", text_content="abc", text="abc def"))
    await client.search(name, by_text("abc"), by_words("def"), rerank=rerank())
    assert toy_encoder.reranked[-1].query.text == "abc"
    await client.search(name, by_entity(name, "a"), by_words("def"), rerank=rerank())
    assert toy_encoder.reranked == toy_encoder.reranked[:1]  # nothing but `a` itself is there
    await client.search(name, by_words("def"), by_text("abc"), rerank=rerank())
    assert toy_encoder.reranked[-1].query.text == "def"


async def test_candidates_bound_the_result(client: SearchClient, toy_encoder: ToyEncoder) -> None:
    name = await texts(client)
    reply = await client.search(name, NEAR, by_words("nothing"), rerank=rerank(candidates=3))
    assert sorted(ids(reply.hits)) == ["a", "b", "c"]
    reply = await client.search(name, NEAR, by_words("nothing"), rerank=rerank(), top_k=1)
    assert len(toy_encoder.reranked[-1].documents) == 4  # five candidates, one without a text
    assert ids(reply.hits) == ["a"]  # all score 0: by id
    assert reply.hits[0].score == 0


async def test_attribute_is_read(client: SearchClient) -> None:
    name = await texts(client)
    reply = await client.search(
        name, NEAR, by_words("red fox"), rerank=rerank(attribute="note", min_score=0.5)
    )
    assert [(each, hit.score) for each, hit in zip(ids(reply.hits), reply.hits, strict=True)] == [
        ("c", 1),
        ("d", 1),
        ("e", 1),
    ]
    assert reply.hits[0].entity.attributes["note"] == "red"
    assert reply.hits[0].entity.text == TEXTS["c"]


async def test_nothing_good_enough(client: SearchClient) -> None:
    name = await texts(client)
    reply = await client.search(name, by_words("red fox"), rerank=rerank(min_score=1.5))
    assert (list(reply.hits), reply.abstained, reply.best_score) == ([], True, 1)
    reply = await client.search(name, by_words("unicorn"), rerank=rerank())
    assert (list(reply.hits), reply.abstained) == ([], False)
    reply = await client.search(name, by_words("red", min_score=100), rerank=rerank())
    assert (list(reply.hits), reply.abstained) == ([], True)


async def test_pages_fit_together(client: SearchClient) -> None:
    name = await texts(client)
    found: list[str] = []
    token = ""
    for _ in range(4):
        reply = await client.search(
            name,
            NEAR,
            by_words("red fox"),
            rerank=rerank(candidates=4),
            top_k=1,
            page_token=token,
        )
        found += ids(reply.hits)
        assert reply.hits[0].rank == len(found)
        token = reply.next_page_token
    assert (found, token) == (["a", "b", "d", "c"], "")
    late = await client.search(name, by_words("red fox"), rerank=rerank(), offset=2, top_k=5)
    assert ids(late.hits) == ["d", "c"]


async def test_groups_are_made_of_reranked_hits(client: SearchClient) -> None:
    name = await texts(client)
    reply = await client.search(
        name,
        NEAR,
        by_words("bird"),
        rerank=rerank(),
        group_by=search_service_pb2.GroupBy(field="item", size=2),
    )
    groups = [(each.key.string_value, ids(each.hits)) for each in reply.groups]
    assert groups == [("second", ["d", "c"]), ("first", ["b", "a"])]


async def test_explained(client: SearchClient) -> None:
    name = await texts(client)

    async def stages(*queries: search_service_pb2.Query, **options: Any) -> list[str]:
        reply = await client.search(name, *queries, explain=True, **options)
        assert all(each.duration.ToNanoseconds() >= 0 for each in reply.timings)
        return [each.stage for each in reply.timings]

    assert await stages(NEAR) == ["encode", "store", "fuse"]
    assert await stages(NEAR, by_words("red")) == ["encode", "store", "fuse", "read"]
    reranked = await stages(NEAR, by_words("red"), rerank=rerank())
    assert reranked == ["encode", "store", "fuse", "read", "rerank"]
    only = await stages(by_words("red"), rerank=rerank())
    assert only == ["encode", "store", "fuse", "rerank", "read"]
    plain = await client.search(name, NEAR)
    assert not plain.timings
    assert not plain.hits[0].contributions


Case = tuple[search_service_pb2.Query, dict[str, Any], type[LookalikeError], str]
REFUSED: Final[dict[str, Case]] = {
    "no text": (NEAR, {}, InvalidArgumentError, "rerank"),
    "an unknown encoder": (
        by_words("red"),
        {"encoder": "encoders/none"},
        NotFoundError,
        "",
    ),
    "an encoder that does not rerank": (
        by_words("red"),
        {"encoder": IMAGE},
        WrongOperationError,
        "rerank.encoder",
    ),
    "a reserved attribute": (
        by_words("red"),
        {"attribute": "item"},
        InvalidArgumentError,
        "rerank.attribute",
    ),
    "an attribute that is none": (
        by_words("red"),
        {"attribute": '"] or'},
        InvalidArgumentError,
        "rerank.attribute",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_refused(client: SearchClient, case: str) -> None:
    query, fields, error, field = REFUSED[case]
    name = await texts(client)
    refused = await failure(client.search(name, query, rerank=rerank(**fields)))
    assert type(refused) is error, refused.message
    assert refused.field == field


async def test_without_the_encoder(client: SearchClient, encoder_server: GrpcServer) -> None:
    name = await texts(client)
    await encoder_server.stop()
    refused = await failure(client.search(name, by_words("red"), rerank=rerank()))
    assert type(refused) is BackendUnavailableError
    assert ids((await client.search(name, by_words("bird"))).hits) == ["d", "b"]


async def test_in_a_batch_a_bad_second_look_fails_alone(client: SearchClient) -> None:
    name = await texts(client)
    single = search_service_pb2.SearchRequest(
        collection=name, queries=[NEAR, by_words("red fox")], rerank=rerank()
    )
    bad = search_service_pb2.SearchRequest(
        collection=name, queries=[by_words("red")], rerank=rerank(encoder=IMAGE)
    )
    words = search_service_pb2.SearchRequest(collection=name, queries=[by_words("bird")])
    unknown = search_service_pb2.SearchRequest(
        collection=name, queries=[by_words("bird", attribute="note")]
    )
    request = search_service_pb2.BatchSearchRequest(
        collection=name, requests=[single, bad, words, unknown]
    )
    reranked, refused, found, other = (await client.searches.BatchSearch(request)).results
    assert ids(reranked.response.hits) == ["a", "b", "d", "c"]
    assert type(error_from_status(refused.error)) is WrongOperationError
    assert error_from_status(refused.error).field == "requests[1].rerank.encoder"
    assert ids(found.response.hits) == ["d", "b"]
    assert error_from_status(other.error).field == "requests[3].queries[0].attribute"
