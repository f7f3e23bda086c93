"""What a vector is, and which ones a vector field takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from lookalike.type.v1 import vector_pb2
from lookalike_common.errors import EncoderMismatchError, InvalidArgumentError, LookalikeError
from lookalike_search.commands.embedding import embed
from lookalike_search.convert.vectors import to_vector
from lookalike_search.encoding import Content, ContentKind, EncoderPort
from lookalike_search.model import Bits, Metric, Task, Vector, VectorFieldSpec, VectorKind
from lookalike_search.vectors import check_vector, vector_bytes
from lookalike_search.writing import Encoding


def bits_field(metric: Metric = Metric.TANIMOTO, dimensions: int = 12) -> VectorFieldSpec:
    return VectorFieldSpec(
        name="print", dimensions=dimensions, metric=metric, kind=VectorKind.BINARY
    )


def test_bits_know_their_size_and_number() -> None:
    bits = Bits(b"\x81\x0f", 12)
    assert (bits.size, bits.nbytes, bits.count) == (12, 2, 6)
    assert bits == Bits(b"\x81\x0f", 12)
    assert bits != Bits(b"\x81\x0f", 16)


def test_bytes_of_either_kind() -> None:
    assert vector_bytes(Bits(b"\x01\x02", 16)) == b"\x01\x02"
    assert vector_bytes(np.array([1.0], np.float32)) == b"\x00\x00\x80\x3f"


def test_bits_are_written_packed_whatever_format_is_asked_for() -> None:
    for each in (vector_pb2.VECTOR_FORMAT_PACKED, vector_pb2.VECTOR_FORMAT_VALUES):
        message = to_vector(Bits(b"\x01\x02", 12), each).binary
        assert (message.data, message.dimensions) == (b"\x01\x02", 12)


def test_a_field_takes_vectors_of_its_kind_and_size() -> None:
    field = bits_field()
    bits = Bits(b"\x01\x00", 12)
    assert check_vector(bits, field, "vector") is bits
    with pytest.raises(EncoderMismatchError, match="16 dimensions"):
        check_vector(Bits(b"\x01\x00", 16), field, "vector")
    with pytest.raises(EncoderMismatchError, match="is dense"):
        check_vector(np.ones(12, np.float32), field, "vector")
    dense = VectorFieldSpec(name="vector", dimensions=12, metric=Metric.COSINE)
    with pytest.raises(EncoderMismatchError, match="is binary"):
        check_vector(bits, dense, "vector")


def test_no_bits_have_no_tanimoto_but_a_hamming_distance() -> None:
    nothing = Bits(b"\x00\x00", 12)
    with pytest.raises(InvalidArgumentError, match="Tanimoto") as caught:
        check_vector(nothing, bits_field(), "vector")
    assert caught.value.field == "vector"
    assert check_vector(nothing, bits_field(Metric.HAMMING), "vector") is nothing


class OneSizeEncoder:
    """Answers every content with twelve bits, of which the first text has none set."""

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        assert (encoder, fingerprint, task) == ("encoders/x@1", "ab", Task.DOCUMENT)
        return [Bits(bytes([number, 0]), 12) for number in range(len(contents))]


async def test_what_an_encoder_answers_is_checked_for_each_entity() -> None:
    field = replace(bits_field(), encoder="encoders/x@1", fingerprint="ab")
    contents = [Content(kind=ContentKind.TEXT, data=each) for each in (b"a", b"b")]
    encoder = cast(EncoderPort, OneSizeEncoder())  # of which this is all that is called
    nothing, one = await embed(encoder, [Encoding(field, each, "content") for each in contents])
    assert isinstance(nothing, InvalidArgumentError)
    assert nothing.field == "content"
    assert one == Bits(b"\x01\x00", 12)
