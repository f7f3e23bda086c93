"""SearchService."""

from __future__ import annotations

from typing import Any, Final

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.asset import KEPT, NOWHERE, PLAIN_BYTES, asset
from tests.contract.rpc_tables.collections import NAN, NONE, PHOTOS, PLAIN, TEXTS, WORDS
from tests.contract.rpc_tables.encoder import IMAGE, TEXT, bomb, photo
from tests.contract.rpc_tables.rows import (
    Answers,
    Outcome,
    Refuses,
    Row,
    World,
    invalid,
    mismatch,
    missing,
)
from tests.contract.rpc_tables.structure import MOLECULE
from tests.support.search_client import bits, by_entity, by_text, by_vector, by_words, ids

SEARCH: Final = "SearchService.Search"
Query = pb.Query
Content = content_pb2.Content


def search(collection: str, *queries: Query, **fields: Any) -> pb.SearchRequest:
    return pb.SearchRequest(collection=collection, queries=queries, **fields)


FIRST_PAGE: Final = search(PLAIN, by_vector(1, 0, 0), top_k=2)


def next_page(world: World) -> pb.SearchRequest:
    request = search(PLAIN, by_vector(1, 0, 0), top_k=2)
    request.page_token = world.tokens["Search"]
    return request


def page_of_another_query(world: World) -> pb.SearchRequest:
    request = next_page(world)
    request.queries[0].CopyFrom(by_vector(0, 1, 0))
    return request


def page_of_another_rpc(world: World) -> pb.SearchRequest:
    request = next_page(world)
    request.page_token = world.tokens["ListEntities"]
    return request


def _hits(*expected: str) -> Answers:
    return Answers(lambda reply: ids(reply.hits)[: len(expected)] == list(expected))


def _row(name: str, outcome: Outcome, *queries: Query, **fields: Any) -> Row:
    """Return a search in PLAIN, by a good vector unless there are queries."""
    return Row(SEARCH, name, search(PLAIN, *(queries or [by_vector(1, 0, 0)]), **fields), outcome)


def _picture(name: str, image: bytes, outcome: Outcome) -> Row:
    return Row(SEARCH, name, search(PHOTOS, Query(content=Content(image=image))), outcome)


def _structure(smiles: str, encoder: str = MOLECULE, **fields: Any) -> Query:
    return Query(structure=pb.StructureQuery(smiles=smiles), encoder=encoder, **fields)


FINDS: Final = [
    Row(SEARCH, "by vector", FIRST_PAGE, _hits("e0", "e1")),
    Row(SEARCH, "the second page", next_page, _hits("e2", "e3")),
    Row(SEARCH, "by text", search(TEXTS, by_text("a kitten")), _hits("cat", "car")),
    Row(
        SEARCH,
        "by stored asset",
        search(PHOTOS, Query(content=Content(asset=asset(KEPT)))),
        Answers(lambda reply: reply.hits[0].entity.item == "1.jpg"),
    ),
    _picture("by picture", photo(1), Answers(lambda reply: reply.hits[0].entity.item == "1.jpg")),
    _row("by stored entity", _hits("e1", "e2"), by_entity(PLAIN, "e0")),
    _row("filtered", _hits("e1", "e3"), filter='color = "red"'),
    _row(
        "grouped",
        Answers(lambda reply: [len(each.hits) for each in reply.groups] == [1, 1, 1]),
        group_by=pb.GroupBy(field="item"),
    ),
    _row("the largest top_k", _hits("e0"), top_k=10_000),
]

KEYWORDS: Final = [
    Row(SEARCH, "by words", search(WORDS, by_words("the fox")), _hits("fox", "dog")),
    Row(
        SEARCH,
        "by words of an attribute",
        search(WORDS, by_words("dog", attribute="title")),
        _hits("dog"),
    ),
    Row(
        SEARCH,
        "by words and vector",
        search(WORDS, by_words("dog"), by_vector(1, 1, 0)),
        _hits("dog", "fox"),
    ),
    _row("words that are not indexed", invalid("queries[0].keyword"), by_words("fox")),
    Row(
        SEARCH,
        "words of an unknown attribute",
        search(WORDS, by_words("fox", attribute="color")),
        invalid("queries[0].attribute"),
    ),
    Row(
        SEARCH,
        "words in a vector field",
        search(WORDS, by_words("fox", vector_field="vector")),
        invalid("queries[0].vector_field"),
    ),
    Row(
        SEARCH,
        "words and an encoder",
        search(WORDS, by_words("fox", encoder="encoders/x")),
        invalid("queries[0].encoder"),
    ),
    _row(
        "a vector in an attribute",
        invalid("queries[0].attribute"),
        by_vector(1, 0, 0, attribute="title"),
    ),
    _row("no words", invalid("queries[0].keyword"), by_words("")),
    _row("too many words", invalid("queries[0].keyword"), by_words("a" * 4097)),
]


def _rerank(name: str, outcome: Outcome, *queries: Query, **fields: Any) -> Row:
    """Return a reranked search in WORDS, by good words unless there are queries."""
    fields = {"encoder": TEXT, **fields}
    queries = queries or (by_words("garden dog"),)
    return Row(SEARCH, name, search(WORDS, *queries, rerank=pb.Rerank(**fields)), outcome)


RERANKED: Final = [
    _rerank("reranked", Answers(lambda reply: 0 < reply.hits[0].score < 1)),
    _rerank("reranked by an attribute", _hits("dog", "fox"), attribute="title"),
    _rerank("one candidate", _hits("dog"), candidates=1),
    _rerank(
        "reranked, nothing good enough",
        Answers(lambda reply: reply.abstained and not reply.hits),
        min_score=2,
    ),
    _rerank("reranked without a text", invalid("rerank"), by_vector(1, 0, 0)),
    _rerank("reranked by a reserved name", invalid("rerank.attribute"), attribute="item"),
    _rerank("no candidates", invalid("rerank.candidates"), candidates=0),
    _rerank("too many candidates", invalid("rerank.candidates"), candidates=1001),
    _rerank("reranked by nobody", invalid("rerank.encoder"), encoder=""),
    _rerank("reranked by an unknown encoder", missing("encoders/none"), encoder="encoders/none"),
    _rerank(
        "reranked by an encoder that does not",
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "rerank.encoder"),
        encoder=IMAGE,
    ),
    _row(
        "reranked by a number",
        invalid("rerank.attribute"),
        by_vector(1, 0, 0),
        rerank=pb.Rerank(encoder=TEXT, attribute="price"),
    ),
]

BAD_VECTORS: Final = [
    _row("wrong dimension", mismatch("queries[0].vector"), by_vector(1, 0)),
    _row("NaN", invalid("queries[0].vector"), Query(vector=NAN)),
    _row(
        "NaN as a number",
        invalid("queries[0].vector.dense.values[1]"),
        by_vector(1, float("nan"), 0),
    ),
    _row("bits among numbers", mismatch("queries[0].vector"), Query(vector=bits(b"\x01"))),
    _row(
        "fewer bytes than bits",
        invalid("queries[0].vector.binary.data"),
        Query(vector=bits(b"\x01", 9)),
    ),
    _row("a zero vector", invalid("queries[0].vector"), by_vector(0, 0, 0)),
    _row("nothing to look for", invalid("queries[0].source"), Query()),
    _row(
        "unknown vector field",
        invalid("queries[0].vector_field"),
        by_vector(1, 0, 0, vector_field="other"),
    ),
    _row("content without an encoder", invalid("queries[0].content"), by_text("abc")),
    _picture("not an image", b"no picture", invalid("queries[0].content", "UNSUPPORTED_MEDIA")),
    _picture("a truncated image", photo()[:-500], invalid("queries[0].content", "INVALID_CONTENT")),
    _picture("a bomb", bomb(), invalid("queries[0].content", "LIMIT_EXCEEDED")),
    _picture("0 bytes", b"", invalid("queries[0].content.image")),
    Row(
        SEARCH,
        "a text among pictures",
        search(PHOTOS, by_text("abc")),
        invalid("queries[0].content", "WRONG_MODALITY"),
    ),
]

BAD_PAGES: Final = [
    _row("top_k 0", invalid("top_k"), top_k=0),
    _row("top_k 10,001", invalid("top_k"), top_k=10_001),
    _row("a window beyond 10,000", invalid(""), top_k=5001, offset=5000),
    Row(
        SEARCH,
        "page token of another query",
        page_of_another_query,
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    Row(
        SEARCH,
        "page token of another rpc",
        page_of_another_rpc,
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    _row("unknown output field", invalid("output_fields[0]"), output_fields=["nothing"]),
    _row("unknown group", invalid("group_by.field"), group_by=pb.GroupBy(field="text")),
    _row("a made-up token", invalid("consistency_token"), consistency_token="made up"),
]

BAD_FILTERS: Final = [
    _row("a key below a number", invalid("filter", "INVALID_FILTER"), filter="price.x > 1"),
    _row("another type", invalid("filter", "INVALID_FILTER"), filter='price = "cheap"'),
    _row("an unbalanced parenthesis", invalid("filter", "INVALID_FILTER"), filter="(price > 1"),
    _row("half a comparison", invalid("filter", "INVALID_FILTER"), filter="price <"),
]

MISSING: Final = [
    Row(SEARCH, "unknown collection", search(NONE, by_vector(1, 0, 0)), missing(NONE)),
    _row("unknown entity", missing(f"{PLAIN}/entities/none"), by_entity(PLAIN, "none")),
    Row(
        SEARCH,
        "unknown encoder",
        search(TEXTS, by_text("abc", encoder="encoders/none")),
        missing("encoders/none"),
    ),
    Row(
        SEARCH,
        "an encoder of another space",
        search(TEXTS, by_text("abc", encoder="encoders/efficientnet-lite0")),
        mismatch("queries[0].encoder"),
    ),
]

ASSETS: Final = [
    Row(
        SEARCH,
        "unknown asset",
        search(PHOTOS, Query(content=Content(asset=NOWHERE))),
        missing(NOWHERE),
    ),
    Row(
        SEARCH,
        "an asset that is no picture",
        search(PHOTOS, Query(content=Content(asset=asset(PLAIN_BYTES)))),
        invalid("queries[0].content.asset", "UNSUPPORTED_MEDIA"),
    ),
    _row(
        "an asset without an encoder",
        invalid("queries[0].content"),
        Query(content=Content(asset=asset(KEPT))),
    ),
]

STRUCTURES: Final = [
    _row("a structure", Answers(lambda reply: not reply.hits), _structure("CCO")),
    _row(
        "a structure that is none",
        invalid("queries[0].structure.smiles", "INVALID_CONTENT"),
        _structure("C(C"),
    ),
    _row("a structure without an encoder", invalid("queries[0].encoder"), _structure("C", "")),
    _row(
        "a structure by an encoder of texts",
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "queries[0].encoder"),
        _structure("C", TEXT),
    ),
    _row(
        "a structure in a number",
        invalid("queries[0].attribute"),
        _structure("C", attribute="price"),
    ),
]

ROWS: Final = [
    *FINDS,
    *KEYWORDS,
    *RERANKED,
    *BAD_VECTORS,
    *BAD_PAGES,
    *BAD_FILTERS,
    *MISSING,
    *ASSETS,
    *STRUCTURES,
]
