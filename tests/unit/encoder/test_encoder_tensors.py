"""Tensors of the Open Inference Protocol: whatever comes is read as it was meant, or refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidArgumentError
from lookalike_encoder.convert.tensors import read_tensor
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb

MAX_ITEMS = 64
NO_OPTIONS: frozenset[str] = frozenset()


def raw(data: bytes, shape: list[int], datatype: str = "BYTES") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="text", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(inputs=[tensor], raw_input_contents=[data])


def framed(elements: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=MAX_ITEMS))
def test_framed_elements_come_back(elements: list[bytes]) -> None:
    tensor = read_tensor(raw(framed(elements), [len(elements)]), MAX_ITEMS, NO_OPTIONS)
    assert tensor.elements == elements


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=8),
    st.integers(min_value=1, max_value=7),
)
def test_what_is_cut_off_is_refused(elements: list[bytes], missing: int) -> None:
    data = framed(elements)
    with pytest.raises(InvalidArgumentError):
        read_tensor(raw(data[: max(len(data) - missing, 0)], [len(elements)]), 64, NO_OPTIONS)


@given(
    st.binary(max_size=200),
    st.lists(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1), max_size=6),
    st.sampled_from(["BYTES", "UINT8", "FP32", "FP64", "", "\0"]),
)
def test_noise_is_read_or_refused(data: bytes, shape: list[int], datatype: str) -> None:
    try:
        tensor = read_tensor(raw(data, shape, datatype), MAX_ITEMS, NO_OPTIONS)
    except InvalidArgumentError:
        return
    assert len(tensor.elements) <= max(len(data), 1)


@given(st.lists(st.integers(min_value=0, max_value=300), min_size=1, max_size=9))
def test_typed_bytes_are_read_or_refused(values: list[int]) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="raw_image",
        datatype="UINT8",
        shape=[1, len(values)],
        contents=pb.InferTensorContents(uint_contents=values),
    )
    request = pb.ModelInferRequest(inputs=[tensor])
    if max(values) > np.iinfo(np.uint8).max:
        with pytest.raises(InvalidArgumentError):
            read_tensor(request, MAX_ITEMS, NO_OPTIONS)
    else:
        assert list(read_tensor(request, MAX_ITEMS, NO_OPTIONS).elements[0]) == values
