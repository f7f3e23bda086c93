"""Rerank."""

from __future__ import annotations

from typing import Any, Final

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.encoder import IMAGE, TEXT, photo
from tests.contract.rpc_tables.rows import (
    Answers,
    Refuses,
    RefusesItem,
    Row,
    invalid,
    mismatch,
    missing,
)

_RPC: Final = "EncoderService.Rerank"
_QUERY: Final = "a cat sleeps on the sofa"
Content = content_pb2.Content


def rerank(
    *documents: str | Content, query: str | Content = _QUERY, encoder: str = TEXT, **fields: Any
) -> pb.RerankRequest:
    return pb.RerankRequest(
        encoder=encoder, query=_content(query), documents=map(_content, documents), **fields
    )


def _content(value: str | Content) -> Content:
    return Content(text=value) if isinstance(value, str) else value


def _is_ranked(reply: pb.RerankResponse) -> bool:
    same, close, far = (each.document.score for each in reply.results)
    return reply.encoder == TEXT and 1.001 > same > 0.999 and same > close > far


ROWS: Final = [
    Row(
        _RPC,
        "the same, close and far",
        rerank(_QUERY, "a kitten naps on a couch", "the stock market fell today"),
        Answers(_is_ranked),
    ),
    Row(
        _RPC,
        "a document that is too long, with timings",
        rerank("word " * 400, include_timings=True),
        Answers(lambda reply: reply.results[0].document.truncated and len(reply.timings)),
    ),
    Row(_RPC, "no documents", rerank(), invalid("documents")),
    Row(
        _RPC,
        "no query",
        pb.RerankRequest(encoder=TEXT, documents=[Content(text="a")]),
        invalid("query"),
    ),
    Row(_RPC, "too many documents", rerank(*["a"] * 1025), invalid("documents")),
    Row(_RPC, "a blank query", rerank("a", query="   "), invalid("query", "INVALID_CONTENT")),
    Row(
        _RPC,
        "a picture as query",
        rerank("a", query=Content(image=photo())),
        invalid("query", "WRONG_MODALITY"),
    ),
    Row(
        _RPC,
        "a stored asset as query",
        rerank("a", query=Content(asset="assets/" + "0" * 64)),
        invalid("query.asset", "UNSUPPORTED_MEDIA"),
    ),
    Row(_RPC, "unknown encoder", rerank("a", encoder="encoders/no"), missing("encoders/no")),
    Row(
        _RPC,
        "an encoder that does not rerank",
        rerank("a", encoder=IMAGE),
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "encoder"),
    ),
    Row(
        _RPC,
        "another fingerprint",
        rerank("a", expected_fingerprint="f" * 64),
        mismatch("expected_fingerprint"),
    ),
    Row(
        _RPC,
        "a blank document",
        rerank("a", "  ", "b"),
        RefusesItem("INVALID_CONTENT", "documents[1]", index=1),
    ),
    Row(
        _RPC,
        "a picture as document",
        rerank(Content(image=photo()), "b"),
        RefusesItem("WRONG_MODALITY", "documents[0]"),
    ),
]
