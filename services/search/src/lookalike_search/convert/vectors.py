"""Vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from lookalike.type.v1 import vector_pb2
from lookalike_common.errors import InvalidArgumentError, UnimplementedError
from lookalike_search.model import Bits, Dense, Metric, Vector, VectorKind
from lookalike_search.vectors import vector_bytes

METRICS: Final[Mapping[int, Metric]] = {
    vector_pb2.METRIC_COSINE: Metric.COSINE,
    vector_pb2.METRIC_INNER_PRODUCT: Metric.INNER_PRODUCT,
    vector_pb2.METRIC_EUCLIDEAN: Metric.EUCLIDEAN,
    vector_pb2.METRIC_TANIMOTO: Metric.TANIMOTO,
    vector_pb2.METRIC_HAMMING: Metric.HAMMING,
    vector_pb2.METRIC_BM25: Metric.BM25,
}
KINDS: Final[Mapping[int, VectorKind]] = {
    vector_pb2.VECTOR_KIND_DENSE: VectorKind.DENSE,
    vector_pb2.VECTOR_KIND_BINARY: VectorKind.BINARY,
    vector_pb2.VECTOR_KIND_SPARSE: VectorKind.SPARSE,
}

_WIDTHS: Final[Mapping[int, int]] = {
    vector_pb2.DATA_TYPE_UNSPECIFIED: 4,
    vector_pb2.DATA_TYPE_FLOAT32: 4,
    vector_pb2.DATA_TYPE_FLOAT16: 2,
    vector_pb2.DATA_TYPE_BFLOAT16: 2,
}


def from_vector(message: vector_pb2.Vector, field: str) -> Vector:
    """Return a dense vector as float32 [dimensions], or bits; raises errors at `field`."""
    if message.HasField("binary"):
        return from_binary(message.binary, f"{field}.binary")
    if not message.HasField("dense"):
        kind = message.WhichOneof("kind")
        raise UnimplementedError(f"{kind} vectors cannot be used yet", field=f"{field}.{kind}")
    dense = message.dense
    vector = _unpack(dense, f"{field}.dense")
    if dense.dimensions and dense.dimensions != vector.size:
        raise InvalidArgumentError(
            f"says {dense.dimensions}, but there are {vector.size} components",
            field=f"{field}.dense.dimensions",
        )
    return vector


def from_binary(message: vector_pb2.BinaryVector, field: str) -> Bits:
    """Return bits; raises `InvalidArgumentError` at `field` where bytes and dimensions differ."""
    size = message.dimensions or 8 * len(message.data)
    if len(message.data) != -(-size // 8):
        raise InvalidArgumentError(
            f"has {len(message.data)} bytes, {size} dimensions have {-(-size // 8)}",
            field=f"{field}.data",
        )
    if size % 8 and message.data[-1] >> size % 8:
        raise InvalidArgumentError(f"has bits beyond its {size} dimensions", field=f"{field}.data")
    return Bits(message.data, size)


def to_vector(
    vector: Vector, vector_format: vector_pb2.VectorFormat.ValueType
) -> vector_pb2.Vector:
    """Return a vector packed, unless it is dense and numbers are asked for."""
    if isinstance(vector, Bits):
        bits = vector_pb2.BinaryVector(data=vector.data, dimensions=vector.size)
        return vector_pb2.Vector(binary=bits)
    if vector_format == vector_pb2.VECTOR_FORMAT_VALUES:
        dense = vector_pb2.DenseVector(values=vector.tolist(), dimensions=vector.size)
    else:
        dense = vector_pb2.DenseVector(
            data=vector_bytes(vector),
            dtype=vector_pb2.DATA_TYPE_FLOAT32,
            dimensions=vector.size,
        )
    return vector_pb2.Vector(dense=dense)


def _unpack(dense: vector_pb2.DenseVector, field: str) -> Dense:
    if dense.values:
        return np.array(dense.values, np.float32)
    if len(dense.data) % _WIDTHS[dense.dtype]:
        raise InvalidArgumentError(
            f"has {len(dense.data)} bytes, no multiple of a component's", field=f"{field}.data"
        )
    match dense.dtype:
        case vector_pb2.DATA_TYPE_FLOAT16:
            return np.frombuffer(dense.data, "<f2").astype(np.float32)
        case vector_pb2.DATA_TYPE_BFLOAT16:
            halves = np.frombuffer(dense.data, "<u2").astype("<u4")
            return (halves << 16).view("<f4").astype(np.float32)
        case _:
            return np.frombuffer(dense.data, "<f4").astype(np.float32)
