"""Tensors of the Open Inference Protocol, read with the distrust that their framing deserves."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import InvalidArgumentError, InvalidContentError, LimitExceededError
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb

_ELEMENTS = {
    "UINT8": ("u1", "uint_contents"),
    "FP32": ("<f4", "fp32_contents"),
}
_PREFIX = struct.Struct("<I")
_MAX_AXES = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a request: its elements in one place, whichever field they came in."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: list[bytes] | NDArray[Any]
    """A list for BYTES; an array of the tensor's shape for the others."""
    parameters: dict[str, bool | int | float | str]


def read_parameters(
    parameters: Mapping[str, pb.InferParameter],
    known: frozenset[str],
    field: str,
) -> dict[str, bool | int | float | str]:
    """Read options; raises InvalidArgumentError for one that would be ignored."""
    for name in parameters:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidArgumentError(
                f"{name[:60]!r} is not known here; known: {allowed}", field=field
            )
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in parameters.items()
    }


def read_tensor(request: pb.ModelInferRequest, max_items: int, known: frozenset[str]) -> Tensor:
    """Read the one input of a request.

    Raises InvalidArgumentError where shape, type and elements contradict each other, and
    LimitExceededError for more than `max_items`, both before anything of that size is made.
    """
    if len(request.inputs) != 1:
        raise InvalidArgumentError("one tensor is expected", field="inputs")
    found = request.inputs[0]
    shape = tuple(found.shape)
    _check_shape(shape, max_items)
    parameters = read_parameters(found.parameters, known, "inputs[0].parameters")
    raw = request.raw_input_contents
    if raw and (len(raw) != 1 or found.HasField("contents")):
        text = "must be as many as inputs, which then have no contents"
        raise InvalidArgumentError(text, field="raw_input_contents")
    if found.datatype == "BYTES":
        count = math.prod(shape)
        elements = _split(raw[0], count) if raw else list(found.contents.bytes_contents)
        _check_count(len(elements), count)
        return Tensor(found.name, found.datatype, shape, elements, parameters)
    if found.datatype not in _ELEMENTS:
        text = f"{found.datatype[:20]!r} is no type of an input here"
        raise InvalidArgumentError(text, field="inputs[0].datatype")
    array = _array(found, raw[0] if raw else None).reshape(shape)
    return Tensor(found.name, found.datatype, shape, array, parameters)


def _check_shape(shape: tuple[int, ...], max_items: int) -> None:
    if not 1 <= len(shape) <= _MAX_AXES or min(shape) < 1:
        text = f"must be 1 to {_MAX_AXES} numbers above 0, the number of items first"
        raise InvalidArgumentError(text, field="inputs[0].shape")
    if shape[0] > max_items:
        text = f"at most {max_items} items are allowed"
        raise LimitExceededError(text, field="inputs[0].shape")


def _check_count(there: int, expected: int) -> None:
    if there != expected:
        text = f"has {there} elements; the shape says {expected}"
        raise InvalidArgumentError(text, field="inputs[0].contents")


def _array(found: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> NDArray[Any]:
    """Return the elements in one row."""
    dtype, field = _ELEMENTS[found.datatype]
    count = math.prod(found.shape)
    if raw is None:
        values = getattr(found.contents, field)
        _check_count(len(values), count)
        try:
            return np.array(values, dtype)
        except OverflowError:
            text = f"has values that {found.datatype} has not"
            raise InvalidArgumentError(text, field="inputs[0].contents") from None
    expected = count * np.dtype(dtype).itemsize
    if len(raw) != expected:
        text = f"has {len(raw)} bytes; shape and type say {expected}"
        raise InvalidArgumentError(text, field="raw_input_contents[0]")
    return np.frombuffer(raw, dtype)


def _split(raw: bytes, count: int) -> list[bytes]:
    """Cut length-prefixed elements apart; each length is checked against what is left."""
    elements: list[bytes] = []
    place = 0
    while place < len(raw) and len(elements) <= count:
        start = place + _PREFIX.size
        if start > len(raw):
            raise _framing(len(elements))
        place = start + _PREFIX.unpack_from(raw, place)[0]
        if place > len(raw):
            raise _framing(len(elements))
        elements.append(raw[start:place])
    return elements


def _framing(index: int) -> InvalidContentError:
    text = f"ends within element {index}: each needs its length before it, as a uint32"
    return InvalidContentError(text, field="raw_input_contents[0]")
