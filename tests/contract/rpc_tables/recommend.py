"""BatchSearch, Recommend and Classify."""

from __future__ import annotations

from typing import Any, Final

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.errors import Code
from tests.contract.rpc_tables.collections import NONE, PLAIN, TEXTS
from tests.contract.rpc_tables.rows import (
    Answers,
    Outcome,
    RefusesItem,
    Row,
    invalid,
    mismatch,
    missing,
)
from tests.support.search_client import by_entity, by_text, by_vector, ids

BATCH: Final = "SearchService.BatchSearch"
RECOMMEND: Final = "SearchService.Recommend"
CLASSIFY: Final = "SearchService.Classify"

_GOOD: Final = by_vector(1, 0, 0)
_BEST: Final = pb.RecommendRequest.STRATEGY_BEST_SCORE
_INTERESTS: Final = pb.RecommendRequest.STRATEGY_INTERESTS


def _batch(name: str, outcome: Outcome, *requests: pb.SearchRequest, at: str = PLAIN) -> Row:
    return Row(BATCH, name, pb.BatchSearchRequest(collection=at, requests=requests), outcome)


def _search(*queries: pb.Query, **fields: Any) -> pb.SearchRequest:
    return pb.SearchRequest(queries=queries, **fields)


def _recommend(name: str, outcome: Outcome, *positive: pb.Query, at: str = PLAIN, **f: Any) -> Row:
    request = pb.RecommendRequest(collection=at, positive=positive or [_GOOD], **f)
    return Row(RECOMMEND, name, request, outcome)


def _classify(name: str, outcome: Outcome, query: pb.Query = _GOOD, **fields: Any) -> Row:
    fields = {"collection": PLAIN, "label": "color", **fields}
    return Row(CLASSIFY, name, pb.ClassifyRequest(query=query, **fields), outcome)


def _hits(*expected: str) -> Answers:
    return Answers(lambda reply: ids(reply.hits)[: len(expected)] == list(expected))


def _label(expected: str) -> Answers:
    return Answers(lambda reply: reply.label.string_value == expected)


BATCHES: Final = [
    _batch(
        "two searches",
        Answers(
            lambda reply: [ids(each.response.hits) for each in reply.results] == [["e0"], ["e1"]]
        ),
        _search(_GOOD, top_k=1),
        _search(_GOOD, top_k=1, offset=1),
    ),
    _batch(
        "one without a page",
        RefusesItem("INVALID_FIELD", "requests[1].top_k", index=1),
        _search(_GOOD),
        _search(_GOOD, top_k=0),
    ),
    _batch(
        "one with a bad filter",
        RefusesItem("INVALID_FILTER", "requests[0].filter"),
        _search(_GOOD, filter="price <"),
    ),
    _batch(
        "one with other dimensions",
        RefusesItem("ENCODER_MISMATCH", "requests[0].queries[0].vector", Code.FAILED_PRECONDITION),
        _search(by_vector(1, 0)),
    ),
    _batch(
        "one of an unknown entity",
        RefusesItem("RESOURCE_NOT_FOUND", "", Code.NOT_FOUND),
        _search(by_entity(PLAIN, "none")),
    ),
    _batch("no searches", invalid("requests")),
    _batch("257 searches", invalid("requests"), *[_search(_GOOD)] * 257),
    _batch("unknown collection", missing(NONE), _search(_GOOD), at=NONE),
]

RECOMMENDATIONS: Final = [
    _recommend("like an entity", _hits("e1", "e2"), by_entity(PLAIN, "e0")),
    _recommend("like a text", _hits("cat"), by_text("a kitten"), at=TEXTS),
    _recommend("the example too", _hits("e0"), by_entity(PLAIN, "e0"), include_examples=True),
    _recommend(
        "without what is closer to a bad example",
        _hits("e0"),
        strategy=_BEST,
        negative=[by_entity(PLAIN, "e1")],
    ),
    _recommend(
        "by interests",
        Answers(lambda reply: len(reply.hits) == 1),
        strategy=_INTERESTS,
        interests=1,
        top_k=1,
    ),
    _recommend("without what was seen", _hits("e1"), exclude=[f"{PLAIN}/entities/e0"]),
    Row(RECOMMEND, "no example", pb.RecommendRequest(collection=PLAIN), invalid("positive")),
    _recommend("257 examples", invalid("positive"), *[_GOOD] * 257),
    _recommend("257 bad examples", invalid("negative"), negative=[_GOOD] * 257),
    _recommend("words as an example", invalid("positive[0].keyword"), pb.Query(keyword="a")),
    _recommend(
        "a structure as an example",
        invalid("negative[0].structure"),
        negative=[pb.Query(structure=pb.StructureQuery(smiles="C"))],
    ),
    _recommend(
        "an example's own bound", invalid("positive[0].min_score"), by_vector(1, 0, 0, min_score=1)
    ),
    _recommend("wrong dimension", mismatch("positive[1].vector"), _GOOD, by_vector(1, 0)),
    _recommend("a zero vector", invalid("negative[0].vector"), negative=[by_vector(0, 0, 0)]),
    _recommend("what cancels out", invalid("positive"), _GOOD, by_vector(-1, 0, 0)),
    _recommend("interests of an average", invalid("interests"), interests=2),
    _recommend("17 interests", invalid("interests"), strategy=_INTERESTS, interests=17),
    _recommend("seen in another collection", invalid("exclude[0]"), exclude=[f"{NONE}/entities/e"]),
    _recommend("5001 seen", invalid("exclude"), exclude=[f"{PLAIN}/entities/e"] * 5001),
    _recommend("5001 items", invalid("exclude_items"), exclude_items=["a"] * 5001),
    _recommend("a window beyond 10,000", invalid(""), top_k=5001, offset=5000),
    _recommend("half a filter", invalid("filter", "INVALID_FILTER"), filter="price <"),
    _recommend("a made-up page", invalid("page_token", "INVALID_PAGE_TOKEN"), page_token="made up"),
    _recommend("unknown entity", missing(f"{PLAIN}/entities/none"), by_entity(PLAIN, "none")),
    _recommend("unknown collection", missing(NONE), at=NONE),
]

CLASSIFICATIONS: Final = [
    _classify("the nearest one's label", _label("blue"), neighbors=1),
    _classify("none that is sure", _label(""), min_margin=1.0),
    _classify("a label of many values", invalid("label"), label="tags"),
    _classify("no label", invalid("label"), label=""),
    _classify("a field as a label", invalid("label"), label="text"),
    _classify("no neighbours", invalid("neighbors"), neighbors=0),
    _classify("1,001 neighbours", invalid("neighbors"), neighbors=1001),
    _classify("more than sure", invalid("min_confidence"), min_confidence=1.1),
    _classify("more than all", invalid("min_margin"), min_margin=1.1),
    _classify(
        "a structure",
        invalid("query.structure"),
        pb.Query(structure=pb.StructureQuery(smiles="C")),
    ),
    _classify("wrong dimension", mismatch("query.vector"), by_vector(1, 0)),
    _classify("content without an encoder", invalid("query.content"), by_text("abc")),
    _classify("half a filter", invalid("filter", "INVALID_FILTER"), filter="price <"),
    _classify("unknown entity", missing(f"{PLAIN}/entities/none"), by_entity(PLAIN, "none")),
    _classify("unknown collection", missing(NONE), collection=NONE),
]

ROWS: Final = [*BATCHES, *RECOMMENDATIONS, *CLASSIFICATIONS]
