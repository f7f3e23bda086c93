"""MatchStructure."""

from __future__ import annotations

from typing import Any, Final

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike_common.errors import Code
from tests.contract.rpc_tables.encoder import TEXT
from tests.contract.rpc_tables.rows import Answers, Refuses, RefusesItem, Row, invalid, missing

MOLECULE: Final = "encoders/morgan-2048@1"
_RPC: Final = "EncoderService.MatchStructure"
_PART: Final = pb.STRUCTURE_MATCH_SUBSTRUCTURE
_WHOLE: Final = pb.STRUCTURE_MATCH_SUPERSTRUCTURE
_SAME: Final = pb.STRUCTURE_MATCH_EXACT


def match(
    *candidates: str,
    how: pb.StructureMatch.ValueType = _PART,
    encoder: str = MOLECULE,
    **query: Any,
) -> pb.MatchStructureRequest:
    return pb.MatchStructureRequest(encoder=encoder, match=how, candidates=candidates, **query)


def _found(*expected: list[int] | None) -> Answers:
    """Expect the atoms of each candidate, None where it does not match."""

    def check(reply: pb.MatchStructureResponse) -> bool:
        found = [
            list(each.matched.atoms) if each.matched.matches else None for each in reply.results
        ]
        return reply.encoder == MOLECULE and found == list(expected)

    return Answers(check)


ROWS: Final = [
    Row(_RPC, "a pattern", match("CCO", "CCN", "OCC", smarts="[OX2H]"), _found([2], None, [0])),
    Row(
        _RPC,
        "a molecule within molecules",
        match("CCO", "CC(=O)O", "C", smiles="CO"),
        _found([1, 2], [1, 3], None),
    ),
    Row(
        _RPC,
        "molecules within a molecule",
        match("CC", "CN", "OCC", smiles="CCO", how=_WHOLE),
        _found([], None, []),
    ),
    Row(
        _RPC,
        "the same molecule",
        match("OCC", "C(O)C", "COC", smiles="CCO", how=_SAME),
        _found([], [], None),
    ),
    Row(
        _RPC,
        "its mirror image, where that counts",
        match(
            "N[C@@H](C)C(=O)O",
            "N[C@H](C)C(=O)O",
            smiles="C[C@H](N)C(=O)O",
            how=_SAME,
            use_chirality=True,
        ),
        _found([], None),
    ),
    Row(
        _RPC,
        "its mirror image, where it does not",
        match("N[C@@H](C)C(=O)O", "N[C@H](C)C(=O)O", smiles="C[C@H](N)C(=O)O", how=_SAME),
        _found([], []),
    ),
    Row(
        _RPC,
        "a candidate that is none",
        match("CCO", "C(C", smiles="C"),
        RefusesItem("INVALID_CONTENT", "candidates[1]", index=1),
    ),
    Row(
        _RPC,
        "a candidate that is too large",
        match("C" * 1001, "C", smiles="C"),
        RefusesItem("LIMIT_EXCEEDED", "candidates[0]"),
    ),
    Row(
        _RPC,
        "a query that is no molecule",
        match("C", smiles="C(C"),
        invalid("smiles", "INVALID_CONTENT"),
    ),
    Row(
        _RPC,
        "a query that is no pattern",
        match("C", smarts="[C"),
        invalid("smarts", "INVALID_CONTENT"),
    ),
    Row(
        _RPC,
        "a pattern that is to be the same",
        match("C", smarts="[C]", how=_SAME),
        invalid("smarts"),
    ),
    Row(_RPC, "no query", match("C"), invalid("query")),
    Row(_RPC, "no candidates", match(smiles="C"), invalid("candidates")),
    Row(
        _RPC,
        "no relation",
        match("C", smiles="C", how=pb.STRUCTURE_MATCH_UNSPECIFIED),
        invalid("match"),
    ),
    Row(
        _RPC,
        "too many candidates",
        match(*["C"] * 10_001, smiles="C"),
        invalid("candidates"),
    ),
    Row(
        _RPC,
        "an encoder of texts",
        match("C", smiles="C", encoder=TEXT),
        Refuses(Code.FAILED_PRECONDITION, "WRONG_OPERATION", "encoder"),
    ),
    Row(
        _RPC,
        "unknown encoder",
        match("C", smiles="C", encoder="encoders/none"),
        missing("encoders/none"),
    ),
]
