"""EncoderAdminService. Rows run in their order: what one unloads, the next ones load again."""

from __future__ import annotations

from typing import Final

from lookalike.encoder.v1 import encoder_admin_service_pb2 as pb
from lookalike.encoder.v1 import encoder_pb2
from tests.contract.rpc_tables.encoder import TEXT
from tests.contract.rpc_tables.rows import Answers, Row, invalid, missing

_NONE: Final = "encoders/none"
_BAD: Final = "minilm-l6-v2"


def _ready(reply: encoder_pb2.Encoder) -> bool:
    return (reply.name, reply.state) == (TEXT, encoder_pb2.Encoder.STATE_READY)


def _unloaded(reply: encoder_pb2.Encoder) -> bool:
    return (reply.name, reply.state) == (TEXT, encoder_pb2.Encoder.STATE_UNLOADED)


ROWS: Final = [
    Row(
        "EncoderAdminService.UnloadEncoder",
        "one that is ready",
        pb.UnloadEncoderRequest(name=TEXT),
        Answers(_unloaded),
    ),
    Row(
        "EncoderAdminService.UnloadEncoder",
        "one that is not loaded",
        pb.UnloadEncoderRequest(name=TEXT),
        Answers(_unloaded),
    ),
    Row(
        "EncoderAdminService.UnloadEncoder",
        "unknown",
        pb.UnloadEncoderRequest(name=_NONE),
        missing(_NONE),
    ),
    Row(
        "EncoderAdminService.UnloadEncoder",
        "no encoder's name",
        pb.UnloadEncoderRequest(name=_BAD),
        invalid("name"),
    ),
    Row(
        "EncoderAdminService.LoadEncoder",
        "without a version",
        pb.LoadEncoderRequest(name=TEXT.removesuffix("@1")),
        Answers(_ready),
    ),
    Row(
        "EncoderAdminService.LoadEncoder",
        "one that is ready",
        pb.LoadEncoderRequest(name=TEXT),
        Answers(_ready),
    ),
    Row(
        "EncoderAdminService.LoadEncoder",
        "unknown version",
        pb.LoadEncoderRequest(name="encoders/minilm-l6-v2@99"),
        missing("encoders/minilm-l6-v2@99"),
    ),
    Row(
        "EncoderAdminService.LoadEncoder",
        "no encoder's name",
        pb.LoadEncoderRequest(name=_BAD),
        invalid("name"),
    ),
    Row(
        "EncoderAdminService.ReloadEncoder",
        "one that is ready",
        pb.ReloadEncoderRequest(name=TEXT),
        Answers(_ready),
    ),
    Row(
        "EncoderAdminService.ReloadEncoder",
        "unknown",
        pb.ReloadEncoderRequest(name=_NONE),
        missing(_NONE),
    ),
    Row(
        "EncoderAdminService.ReloadEncoder",
        "no name",
        pb.ReloadEncoderRequest(),
        invalid("name"),
    ),
]
