"""Rerank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Answer, Encoded, Item, Operation, Outcome, Task, Vectors
from lookalike_encoder.convert.content import from_content, placed
from lookalike_encoder.convert.encode import to_timings
from lookalike_encoder.convert.encoder import ToStatus
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.maxsim import maxsim

Scored = tuple[float, bool] | LookalikeError
"""The score of a document and whether its end was left out, or why it has none."""


def from_query(request: pb.RerankRequest, manifest: Manifest) -> Item:
    """Read the query; raises what makes it unreadable, as the request's field `query`."""
    item = _from_content(request.query, Task.QUERY, manifest)
    if isinstance(item, LookalikeError):
        raise placed(item, "query")
    return item


def from_documents(request: pb.RerankRequest, manifest: Manifest) -> list[Item | LookalikeError]:
    """Read the documents; one that the encoder does not take becomes its error."""
    return [_from_content(each, Task.DOCUMENT, manifest) for each in request.documents]


def query_tokens(outcome: Outcome) -> Vectors:
    """Return the query's vectors, float32 [tokens, d]; raises what became of it instead."""
    if isinstance(outcome, LookalikeError):
        raise placed(outcome, "query")
    return np.asarray(outcome.vectors[0], np.float32)


def to_scores(query: Vectors, outcomes: Sequence[Outcome]) -> list[Scored]:
    """Score the documents that could be encoded."""
    encoded = [each for each in outcomes if isinstance(each, Encoded)]
    scores = iter(maxsim(query, [each.vectors[0] for each in encoded]))
    return [
        (float(next(scores)), each.truncated) if isinstance(each, Encoded) else each
        for each in outcomes
    ]


def to_rerank_response(
    manifest: Manifest, scored: Sequence[Scored], answer: Answer | None, to_status: ToStatus
) -> pb.RerankResponse:
    """Write the reply, with timings if there is an `answer` to take them from."""
    return pb.RerankResponse(
        encoder=f"encoders/{manifest.versioned_name}",
        fingerprint=manifest.fingerprint,
        results=[_to_result(index, each, to_status) for index, each in enumerate(scored)],
        timings=to_timings(answer) if answer else (),
    )


def _from_content(
    content: content_pb2.Content, task: Task, manifest: Manifest
) -> Item | LookalikeError:
    found = from_content(content, manifest)
    if isinstance(found, LookalikeError):
        return found
    return Item(found, task=task, operation=Operation.RERANK)


def _to_result(index: int, scored: Scored, to_status: ToStatus) -> pb.RerankResult:
    if isinstance(scored, LookalikeError):
        return pb.RerankResult(error=to_status(placed(scored, f"documents[{index}]")))
    score, truncated = scored
    return pb.RerankResult(document=pb.RerankedDocument(score=score, truncated=truncated))
