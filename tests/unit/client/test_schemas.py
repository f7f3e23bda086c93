"""Vector fields as people write them on a command line."""

from __future__ import annotations

import pytest

from lookalike.search.v1 import collection_pb2
from lookalike.type.v1 import vector_pb2
from lookalike_client.cli.exits import CommandError
from lookalike_client.cli.schemas import field_of

VectorField = collection_pb2.VectorField


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=minilm", VectorField(name="a", encoder="encoders/minilm")),
        (
            "a=minilm:text",
            VectorField(name="a", encoder="encoders/minilm", source_attribute="text"),
        ),
        ("a?=minilm", VectorField(name="a", encoder="encoders/minilm", optional=True)),
        ("a=8:l2", VectorField(name="a", dimensions=8, metric=vector_pb2.METRIC_EUCLIDEAN)),
        (
            "a?=64:hamming",
            VectorField(
                name="a",
                dimensions=64,
                metric=vector_pb2.METRIC_HAMMING,
                vector_kind=vector_pb2.VECTOR_KIND_BINARY,
                optional=True,
            ),
        ),
    ],
)
def test_a_field_is_what_was_written(text: str, expected: collection_pb2.VectorField) -> None:
    assert field_of(text) == expected


@pytest.mark.parametrize("text", ["a", "a=", "a=8", "a=8:round", "=8:round"])
def test_what_is_no_field_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(CommandError, match="name=encoder"):
        field_of(text)
