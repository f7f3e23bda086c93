"""A second, more exact look at the best hits, by an encoder that reads query and text together.

Hits without the text that it reads, or with one that it cannot read, have no score and are left
out: there would be no honest place for them in the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lookalike_common.errors import InvalidArgumentError, LookalikeError
from lookalike_search.commands.plan import Reranking
from lookalike_search.encoding import EncoderPort
from lookalike_search.fusion import Hit
from lookalike_search.model import EntityRecord
from lookalike_search.scoring import as_replied

_PLACES: Final = {"encoder": "rerank.encoder", "documents": "rerank.candidates"}
"""Where in a search request the parts of a request to the encoder come from."""


async def rerank_hits(
    encoder: EncoderPort, reranking: Reranking, hits: Sequence[Hit]
) -> tuple[list[Hit], float | None]:
    """Return the hits that are good enough, by falling score and then by id, and the best score.

    The best score is None where nothing could be compared.
    """
    rerank = reranking.rerank
    texts = [_text(each.record, rerank.attribute) for each in hits]
    readable = [(hit, text) for hit, text in zip(hits, texts, strict=True) if text.strip()]
    if not readable:
        return [], None
    try:
        scores = await encoder.rerank(
            rerank.encoder, reranking.query, [text for _, text in readable]
        )
    except LookalikeError as error:
        raise _placed(error, reranking) from error
    scored = [
        replace(hit, score=score, distance=None)
        for (hit, _), score in zip(readable, map(_score, scores), strict=True)
        if score is not None
    ]
    best = max((each.score for each in scored), default=None)
    least = rerank.min_score
    wanted = [each for each in scored if least is None or as_replied(each.score) >= least]
    return sorted(wanted, key=lambda each: (-each.score, each.record.id)), best


def _text(record: EntityRecord, attribute: str) -> str:
    value = record.attributes.get(attribute) if attribute else record.text
    return value if isinstance(value, str) else ""


def _score(scored: float | LookalikeError) -> float | None:
    """Return a score, or None for a text that is at fault; raises what is not its fault."""
    if isinstance(scored, InvalidArgumentError):
        return None
    if isinstance(scored, LookalikeError):
        raise scored
    return scored


def _placed(error: LookalikeError, reranking: Reranking) -> LookalikeError:
    """Return the error with the place in the search request instead of that in the encoder's."""
    if not error.field:
        return error
    field = _PLACES.get(error.field, reranking.at)
    return type(error)(
        error.message,
        field=field,
        resource_type=error.resource_type,
        resource_name=error.resource_name,
        retry_after=error.retry_after,
        metadata=error.metadata,
    )
