"""MatchStructure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError
from lookalike_encoder.content import Encoded, Item, Operation, Outcome, SmilesContent
from lookalike_encoder.convert.encoder import ToStatus
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.structure import Relation, StructureQuery

_RELATIONS = {
    encoder_service_pb2.STRUCTURE_MATCH_SUBSTRUCTURE: Relation.SUBSTRUCTURE,
    encoder_service_pb2.STRUCTURE_MATCH_SUPERSTRUCTURE: Relation.SUPERSTRUCTURE,
    encoder_service_pb2.STRUCTURE_MATCH_EXACT: Relation.EXACT,
}


def from_query(request: encoder_service_pb2.MatchStructureRequest) -> StructureQuery:
    """Read the query; raises InvalidArgumentError for a pattern that is to be more than found."""
    relation = _RELATIONS[request.match]
    is_pattern = request.WhichOneof("query") == "smarts"
    if is_pattern and relation is not Relation.SUBSTRUCTURE:
        raise InvalidArgumentError(
            "a pattern can only be a substructure; send SMILES", field="smarts"
        )
    text = request.smarts if is_pattern else request.smiles
    return StructureQuery(text, is_pattern, relation, request.use_chirality)


def to_items(query: StructureQuery, candidates: Iterable[str]) -> list[Item]:
    """Return what the batcher is to do for some candidates of a call."""
    return [
        Item(SmilesContent(each), operation=Operation.MATCH_STRUCTURE, structure=query)
        for each in candidates
    ]


def raise_for_query(query: StructureQuery, outcomes: Sequence[Outcome]) -> None:
    """Raise why the query cannot be read, if that is why the candidates failed."""
    for outcome in outcomes:
        if isinstance(outcome, LookalikeError) and outcome.field == query.request_field:
            raise outcome


def to_match_response(
    manifest: Manifest, outcomes: Sequence[Outcome], to_status: ToStatus
) -> encoder_service_pb2.MatchStructureResponse:
    """Write the reply."""
    return encoder_service_pb2.MatchStructureResponse(
        encoder=f"encoders/{manifest.versioned_name}",
        results=[_to_result(index, each, to_status) for index, each in enumerate(outcomes)],
    )


def _to_result(
    index: int, outcome: Outcome, to_status: ToStatus
) -> encoder_service_pb2.MatchStructureResult:
    if not isinstance(outcome, Encoded):
        status = to_status(outcome.at(f"candidates[{index}]"))
        return encoder_service_pb2.MatchStructureResult(error=status)
    atoms = outcome.vectors[0].tolist()
    matches = atoms != [-1]
    matched = encoder_service_pb2.StructureMatched(matches=matches, atoms=atoms if matches else ())
    return encoder_service_pb2.MatchStructureResult(matched=matched)
