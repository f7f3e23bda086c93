"""GRPCInferenceService, the Open Inference Protocol."""

from __future__ import annotations

from typing import Any, Final

from lookalike_encoder.inference_protocol import inference_service_pb2 as pb
from tests.contract.rpc_tables.encoder import photo
from tests.contract.rpc_tables.rows import Answers, Refuses, Row, invalid, mismatch, missing

TEXT: Final = "minilm-l6-v2"
IMAGE: Final = "efficientnet-lite0"
_Tensor = pb.ModelInferRequest.InferInputTensor


def asked(
    model: str, name: str, *elements: bytes, shape: list[int] | None = None, **fields: Any
) -> pb.ModelInferRequest:
    """Ask with typed contents."""
    tensor = _Tensor(
        name=name,
        datatype="BYTES",
        shape=shape or [len(elements)],
        contents=pb.InferTensorContents(bytes_contents=elements),
    )
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], **fields)


def raw(
    data: bytes, shape: list[int], *, name: str = "text", datatype: str = "BYTES", model: str = TEXT
) -> pb.ModelInferRequest:
    """Ask with raw contents."""
    tensor = _Tensor(name=name, datatype=datatype, shape=shape)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[data])


def with_parameter(name: str, value: str) -> pb.ModelInferRequest:
    return asked(TEXT, "text", b"a", parameters={name: pb.InferParameter(string_param=value)})


def _infer(name: str, request: pb.ModelInferRequest, outcome: Answers | Refuses) -> Row:
    return Row("GRPCInferenceService.ModelInfer", name, request, outcome)


def _has_shape(*shape: int) -> Answers:
    return Answers(
        lambda reply: (
            tuple(reply.outputs[0].shape) == shape
            and len(reply.raw_output_contents[0]) == 4 * shape[0] * shape[1]
        )
    )


NEVER_REFUSED: Final = {
    f"GRPCInferenceService.{name}"
    for name in ("ServerLive", "ServerReady", "ServerMetadata", "ModelStreamInfer")
}
"""Their requests are empty, or what is wrong with one is told in the stream."""

_ABOUT: Final = [
    Row("GRPCInferenceService.ServerLive", "", pb.ServerLiveRequest(), Answers(lambda r: r.live)),
    Row(
        "GRPCInferenceService.ServerReady", "", pb.ServerReadyRequest(), Answers(lambda r: r.ready)
    ),
    Row(
        "GRPCInferenceService.ServerMetadata",
        "",
        pb.ServerMetadataRequest(),
        Answers(lambda reply: reply.name == "lookalike-encoder" and reply.version),
    ),
    Row(
        "GRPCInferenceService.ModelReady",
        "one that is",
        pb.ModelReadyRequest(name=TEXT, version="1"),
        Answers(lambda reply: reply.ready),
    ),
    Row(
        "GRPCInferenceService.ModelReady",
        "unknown",
        pb.ModelReadyRequest(name="none"),
        missing("encoders/none"),
    ),
    Row(
        "GRPCInferenceService.ModelMetadata",
        "of pictures",
        pb.ModelMetadataRequest(name=IMAGE),
        Answers(lambda reply: [each.name for each in reply.inputs] == ["image", "raw_image"]),
    ),
    Row(
        "GRPCInferenceService.ModelMetadata",
        "unknown version",
        pb.ModelMetadataRequest(name=TEXT, version="99"),
        missing(f"encoders/{TEXT}@99"),
    ),
]

_INFER: Final = [
    _infer("texts", asked(TEXT, "text", b"a", b"b", id="x"), _has_shape(2, 384)),
    _infer("a column", asked(TEXT, "text", b"a", b"b", shape=[2, 1]), _has_shape(2, 384)),
    _infer("raw texts", raw(b"\1\0\0\0a\2\0\0\0bc", [2]), _has_shape(2, 384)),
    _infer("a picture", asked(IMAGE, "image", photo()), _has_shape(1, 1280)),
    _infer(
        "raw pictures",
        raw(bytes(2 * 5 * 4 * 3), [2, 5, 4, 3], name="raw_image", datatype="UINT8", model=IMAGE),
        _has_shape(2, 1280),
    ),
    _infer("no model", asked("", "text", b"a"), invalid("model_name")),
    _infer("unknown model", asked("none", "text", b"a"), missing("encoders/none")),
    _infer("no tensor", pb.ModelInferRequest(model_name=TEXT), invalid("inputs")),
    _infer("another tensor", asked(TEXT, "words", b"a"), invalid("inputs[0].name")),
    _infer(
        "texts for pictures' encoder",
        asked(IMAGE, "text", b"a"),
        invalid("inputs[0].name", "WRONG_MODALITY"),
    ),
    _infer("another shape", asked(TEXT, "text", b"a", shape=[2]), invalid("inputs[0].contents")),
    _infer("no items", asked(TEXT, "text", shape=[0]), invalid("inputs[0].shape")),
    _infer("a negative size", asked(TEXT, "text", b"a", shape=[-1]), invalid("inputs[0].shape")),
    _infer(
        "an enormous shape",
        raw(b"", [1, 1 << 62, 1 << 62, 3], name="raw_image", datatype="UINT8", model=IMAGE),
        invalid("raw_input_contents[0]"),
    ),
    _infer(
        "too many items",
        raw(b"", [1 << 40]),
        invalid("inputs[0].shape", "LIMIT_EXCEEDED"),
    ),
    _infer("another type", raw(bytes(4), [1], datatype="FP32"), invalid("inputs[0].datatype")),
    _infer(
        "a length that lies",
        raw(b"\xff\xff\xff\xffa", [1]),
        invalid("raw_input_contents[0]", "INVALID_CONTENT"),
    ),
    _infer("no UTF-8", asked(TEXT, "text", b"a", b"\xff"), invalid("text[1]", "INVALID_CONTENT")),
    _infer(
        "a bad picture after a good one",
        asked(IMAGE, "image", photo(), b"no picture"),
        invalid("image[1]", "UNSUPPORTED_MEDIA"),
    ),
    _infer("an unknown option", with_parameter("mood", "x"), invalid("parameters")),
    _infer("another task", with_parameter("task_type", "x"), invalid("parameters.task_type")),
    _infer(
        "another fingerprint",
        with_parameter("expected_fingerprint", "f" * 64),
        mismatch("expected_fingerprint"),
    ),
    Row(
        "GRPCInferenceService.ModelStreamInfer",
        "a bad request between good ones",
        [asked(TEXT, "text", b"a", id="1"), asked("none", "text", b"a"), asked(TEXT, "text", b"b")],
        Answers(
            lambda replies: (
                [bool(each.error_message) for each in replies] == [False, True, False]
                and replies[0].infer_response.id == "1"
            )
        ),
    ),
]

ROWS: Final = [*_ABOUT, *_INFER]
