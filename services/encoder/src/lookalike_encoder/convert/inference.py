"""The Open Inference Protocol: every encoder as a model with the output `embedding`.

An encoder's inputs are alternatives: a request has exactly one of them, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LookalikeError,
    WrongModalityError,
)
from lookalike_encoder.content import (
    AudioContent,
    Content,
    Encoded,
    ImageContent,
    Item,
    Outcome,
    Priority,
    RawAudioContent,
    RawImageContent,
    SequenceContent,
    SmilesContent,
    Task,
    TextContent,
)
from lookalike_encoder.convert.content import placed
from lookalike_encoder.convert.tensors import Tensor, read_parameters, read_tensor
from lookalike_encoder.convert.token_ids import (
    DATATYPE,
    IDS,
    MASK,
    place_of_mask,
    read_mask,
    read_tokens,
)
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb
from lookalike_encoder.manifest import Manifest, Modality
from lookalike_media import PixelFormat, SampleFormat

OUTPUT = "embedding"
_FINGERPRINT = "expected_fingerprint"
_REQUEST_PARAMETERS = frozenset({"task_type", "priority", _FINGERPRINT})
_NONE: frozenset[str] = frozenset()
_COLOURS = 3
_FIRST_BULK = 2
_TASKS = {"query": Task.QUERY, "document": Task.DOCUMENT}
_PRIORITIES = {each.value: each for each in Priority}


@dataclass(frozen=True, slots=True)
class _Input:
    """One way to give items to an encoder."""

    modality: Modality
    datatype: str
    shape: tuple[int, ...]
    """-1 where the size is free."""
    read: Callable[[Tensor, int], Content]
    """Returns one item's content."""
    parameters: frozenset[str] = _NONE
    encoder: str = ""
    """The only class of encoders that takes it, if it is one."""
    companion: str = ""
    """A tensor of the same type and shape that may come with it."""

    def suits(self, manifest: Manifest) -> bool:
        """Whether an encoder takes it."""
        return self.modality in manifest.modalities and self.encoder in {"", manifest.encoder}


@dataclass(frozen=True, slots=True)
class Options:
    """What a request says beside its items."""

    task: Task
    priority: Priority
    expected_fingerprint: str


def model_name(name: str, version: str) -> str:
    """Return an encoder's resource name for a model's name and version."""
    plain = name.removeprefix("encoders/")
    if not plain:
        raise InvalidArgumentError("is required", field="model_name")
    if version and "@" in plain:
        text = "must be empty where the name has a version"
        raise InvalidArgumentError(text, field="model_version")
    return f"encoders/{plain}@{version}" if version else f"encoders/{plain}"


def from_options(request: pb.ModelInferRequest) -> Options:
    """Read the parameters of a request, and check which outputs it wants."""
    for index, output in enumerate(request.outputs):
        if output.name != OUTPUT:
            raise InvalidArgumentError(f"must be {OUTPUT}", field=f"outputs[{index}].name")
        read_parameters(output.parameters, _NONE, f"outputs[{index}].parameters")
    given = read_parameters(request.parameters, _REQUEST_PARAMETERS, "parameters")
    task, priority = given.get("task_type", "document"), given.get("priority", "interactive")
    if task not in _TASKS:
        raise _bad_parameter("task_type", "query or document")
    if isinstance(priority, int) and not isinstance(priority, bool):
        priority = "bulk" if priority >= _FIRST_BULK else "interactive"
    if priority not in _PRIORITIES:
        raise _bad_parameter("priority", "interactive, bulk or a whole number")
    return Options(_TASKS[str(task)], _PRIORITIES[str(priority)], str(given.get(_FINGERPRINT, "")))


def from_infer_request(
    request: pb.ModelInferRequest, manifest: Manifest, task: Task
) -> tuple[str, list[Item]]:
    """Read the items, and the name of the tensor they are in.

    Raises InvalidArgumentError, LimitExceededError, InvalidContentError or WrongModalityError.
    """
    mask = place_of_mask(request)
    place = 1 if mask == 0 else 0
    how = _find_input(request, manifest, place, 1 if mask is None else 2)
    tensor = read_tensor(request, manifest.limits.max_items, how.parameters, place)
    shape = tensor.shape[:1] if _is_column(tensor, how) else tensor.shape
    _check_fit(tensor.datatype, shape, how, f"inputs[{place}]")
    if mask is not None:
        tensor = replace(tensor, mask=read_mask(request, mask, tensor))
    return tensor.name, [Item(how.read(tensor, i), task=task) for i in range(shape[0])]


def to_infer_response(
    request: pb.ModelInferRequest, manifest: Manifest, name: str, outcomes: Sequence[Outcome]
) -> pb.ModelInferResponse:
    """Write the reply; raises the error of the first item that failed, with its place."""
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, LookalikeError):
            raise placed(outcome, f"{name}[{index}]")
    rows = [outcome.vectors[0] for outcome in outcomes if isinstance(outcome, Encoded)]
    vectors = np.stack(rows)
    bits = vectors.dtype == np.uint8
    data = vectors if bits else vectors.astype("<f4", copy=False)
    response = pb.ModelInferResponse(
        model_name=request.model_name,
        model_version=manifest.version,
        id=request.id,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=OUTPUT, datatype="UINT8" if bits else "FP32", shape=vectors.shape
            )
        ],
        raw_output_contents=[data.tobytes()],
    )
    response.parameters["fingerprint"].string_param = manifest.fingerprint
    return response


def to_metadata(
    manifest: Manifest, versions: Sequence[str], *, encodes: bool
) -> pb.ModelMetadataResponse:
    """Describe an encoder; one that makes no vectors has no tensors."""
    tensor = pb.ModelMetadataResponse.TensorMetadata
    bits = manifest.vector_dtype == "uint8"
    output = tensor(
        name=OUTPUT, datatype="UINT8" if bits else "FP32", shape=[-1, *manifest.vector_shape]
    )
    known = {name: how for name, how in _INPUTS.items() if how.suits(manifest)}
    inputs = [
        tensor(name=each, datatype=how.datatype, shape=how.shape)
        for name, how in known.items()
        for each in (name, how.companion)
        if each
    ]
    return pb.ModelMetadataResponse(
        name=manifest.name,
        versions=versions,
        platform="lookalike",
        inputs=inputs if encodes else [],
        outputs=[output] if encodes else [],
        properties={
            "fingerprint": manifest.fingerprint,
            "input_sets": _input_sets(known) if encodes else "",
            "license": manifest.license,
            "metric": manifest.metric.value,
            "modalities": ", ".join(each.value for each in manifest.modalities),
            "space": manifest.space,
        },
    )


def to_stream_error(request: pb.ModelInferRequest, message: str) -> pb.ModelStreamInferResponse:
    """Write why a request of a stream failed."""
    return pb.ModelStreamInferResponse(
        error_message=message or "the request failed",
        infer_response=pb.ModelInferResponse(
            model_name=request.model_name, model_version=request.model_version, id=request.id
        ),
    )


def _input_sets(known: Mapping[str, _Input]) -> str:
    """Write which inputs a request may have: alternatives, with optional companions."""
    return " or ".join(
        f"{name} [{how.companion}]" if how.companion else name for name, how in known.items()
    )


def _find_input(
    request: pb.ModelInferRequest, manifest: Manifest, place: int, expected: int
) -> _Input:
    known = {name: how for name, how in _INPUTS.items() if how.suits(manifest)}
    text = f"one tensor is expected: {_input_sets(known)}"
    if len(request.inputs) != expected:
        raise InvalidArgumentError(text, field="inputs")
    name = request.inputs[place].name
    if name in known:
        return _INPUTS[name]
    kind = WrongModalityError if name in _INPUTS else InvalidArgumentError
    raise kind(f"{text}, not {name[:60]!r}", field=f"inputs[{place}].name")


def _is_column(tensor: Tensor, how: _Input) -> bool:
    """Whether BYTES come as [n, 1], as Triton's own models take them."""
    return how.datatype == "BYTES" and tensor.shape[1:] == (1,)


def _check_fit(datatype: str, shape: tuple[int, ...], how: _Input, field: str) -> None:
    if datatype != how.datatype:
        raise InvalidArgumentError(f"must be {how.datatype}", field=f"{field}.datatype")
    fits = len(shape) == len(how.shape) and all(
        wanted in {-1, size} for wanted, size in zip(how.shape, shape, strict=True)
    )
    if not fits:
        text = f"must be {list(how.shape)}, where -1 stands for any size"
        raise InvalidArgumentError(text, field=f"{field}.shape")


def _bad_parameter(name: str, wanted: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"must be {wanted}", field=f"parameters.{name}")


def _text(tensor: Tensor, index: int) -> str:
    try:
        return _file(tensor, index).decode()
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 at byte {error.start}"
        raise InvalidContentError(text, field=f"{tensor.name}[{index}]") from None


def _file(tensor: Tensor, index: int) -> bytes:
    # Whether the elements are bytes is known once the type has been checked.
    data: Any = tensor.elements[index]
    if not data:
        raise InvalidContentError("is empty", field=f"{tensor.name}[{index}]")
    return bytes(data)


def _raw_image(tensor: Tensor, index: int) -> RawImageContent:
    _, height, width, _ = tensor.shape
    pixels: Any = tensor.elements[index]
    return RawImageContent(pixels.tobytes(), width, height, PixelFormat.RGB8)


def _raw_audio(tensor: Tensor, index: int) -> RawAudioContent:
    rate = tensor.parameters.get("sample_rate")
    if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
        text = "must be a whole number, samples a second"
        raise InvalidArgumentError(text, field="inputs[0].parameters.sample_rate")
    samples: Any = tensor.elements[index]
    return RawAudioContent(samples.tobytes(), rate, 1, SampleFormat.F32)


_INPUTS = {
    "text": _Input(Modality.TEXT, "BYTES", (-1,), lambda t, i: TextContent(_text(t, i))),
    IDS: _Input(Modality.TEXT, DATATYPE, (-1, -1), read_tokens, encoder="text", companion=MASK),
    "image": _Input(Modality.IMAGE, "BYTES", (-1,), lambda t, i: ImageContent(_file(t, i))),
    "raw_image": _Input(Modality.IMAGE, "UINT8", (-1, -1, -1, _COLOURS), _raw_image),
    "audio": _Input(Modality.AUDIO, "BYTES", (-1,), lambda t, i: AudioContent(_file(t, i))),
    "raw_audio": _Input(Modality.AUDIO, "FP32", (-1, -1), _raw_audio, frozenset({"sample_rate"})),
    "smiles": _Input(Modality.MOLECULE, "BYTES", (-1,), lambda t, i: SmilesContent(_text(t, i))),
    "sequence": _Input(
        Modality.SEQUENCE, "BYTES", (-1,), lambda t, i: SequenceContent(_text(t, i))
    ),
}
