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
    "INT64": ("<i8", "int64_contents"),
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
    mask: NDArray[np.bool_] | None = None
    """Which elements count; None: all."""


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


def read_tensor(
    request: pb.ModelInferRequest, max_items: int, known: frozenset[str], index: int = 0
) -> Tensor:
    """Read one input of a request.

    Raises InvalidArgumentError where shape, type and elements contradict each other, and
    LimitExceededError for more than `max_items`, both before anything of that size is made.
    """
    found, field = request.inputs[index], f"inputs[{index}]"
    shape = tuple(found.shape)
    _check_shape(shape, max_items, field)
    parameters = read_parameters(found.parameters, known, f"{field}.parameters")
    raw = _raw(request, index)
    if found.datatype == "BYTES":
        count = math.prod(shape)
        elements = list(found.contents.bytes_contents) if raw is None else _split(raw, count, index)
        _check_count(len(elements), count, field)
        return Tensor(found.name, found.datatype, shape, elements, parameters)
    if found.datatype not in _ELEMENTS:
        text = f"{found.datatype[:20]!r} is no type of an input here"
        raise InvalidArgumentError(text, field=f"{field}.datatype")
    array = _array(found, raw, index).reshape(shape)
    return Tensor(found.name, found.datatype, shape, array, parameters)


def _raw(request: pb.ModelInferRequest, index: int) -> bytes | None:
    """Return the bytes of an input, None if its contents are typed."""
    raw = request.raw_input_contents
    if not raw:
        return None
    if len(raw) != len(request.inputs) or request.inputs[index].HasField("contents"):
        text = "must be as many as inputs, which then have no contents"
        raise InvalidArgumentError(text, field="raw_input_contents")
    return raw[index]


def _check_shape(shape: tuple[int, ...], max_items: int, field: str) -> None:
    if not 1 <= len(shape) <= _MAX_AXES or min(shape) < 1:
        text = f"must be 1 to {_MAX_AXES} numbers above 0, the number of items first"
        raise InvalidArgumentError(text, field=f"{field}.shape")
    if shape[0] > max_items:
        text = f"at most {max_items} items are allowed"
        raise LimitExceededError(text, field=f"{field}.shape")


def _check_count(there: int, expected: int, field: str) -> None:
    if there != expected:
        text = f"has {there} elements; the shape says {expected}"
        raise InvalidArgumentError(text, field=f"{field}.contents")


def _array(
    found: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, index: int
) -> NDArray[Any]:
    """Return the elements in one row."""
    dtype, field = _ELEMENTS[found.datatype]
    count = math.prod(found.shape)
    if raw is None:
        values = getattr(found.contents, field)
        _check_count(len(values), count, f"inputs[{index}]")
        try:
            return np.array(values, dtype)
        except OverflowError:
            text = f"has values that {found.datatype} has not"
            raise InvalidArgumentError(text, field=f"inputs[{index}].contents") from None
    expected = count * np.dtype(dtype).itemsize
    if len(raw) != expected:
        text = f"has {len(raw)} bytes; shape and type say {expected}"
        raise InvalidArgumentError(text, field=f"raw_input_contents[{index}]")
    return np.frombuffer(raw, dtype)


def _split(raw: bytes, count: int, index: int) -> list[bytes]:
    """Cut length-prefixed elements apart; each length is checked against what is left."""
    elements: list[bytes] = []
    place = 0
    while place < len(raw) and len(elements) <= count:
        start = place + _PREFIX.size
        if start > len(raw):
            raise _framing(len(elements), index)
        place = start + _PREFIX.unpack_from(raw, place)[0]
        if place > len(raw):
            raise _framing(len(elements), index)
        elements.append(raw[start:place])
    return elements


def _framing(element: int, index: int) -> InvalidContentError:
    text = f"ends within element {element}: each needs its length before it, as a uint32"
    return InvalidContentError(text, field=f"raw_input_contents[{index}]")
