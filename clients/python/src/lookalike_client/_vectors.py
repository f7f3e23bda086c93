"""Vectors of replies as plain numbers, and how near they are by an encoder's metric."""

import math
import struct
from collections.abc import Sequence

from lookalike.type.v1 import vector_pb2

Numbers = Sequence[float]
_FORMATS = {
    vector_pb2.DATA_TYPE_UNSPECIFIED: "f",
    vector_pb2.DATA_TYPE_FLOAT32: "f",
    vector_pb2.DATA_TYPE_FLOAT16: "e",
}


def components(vector: vector_pb2.Vector) -> Numbers:
    """The components of a dense vector, or the bits of a binary one as 0 and 1.

    Raises ValueError for a kind that this client does not read.
    """
    if vector.HasField("binary"):
        binary = vector.binary
        bits = [byte >> place & 1 for byte in binary.data for place in range(8)]
        return bits[: binary.dimensions or len(bits)]
    if not vector.HasField("dense"):
        raise ValueError("only dense and binary vectors can be read")
    dense = vector.dense
    if dense.values:
        return list(dense.values)
    letter = _FORMATS.get(dense.dtype)
    if letter is None:
        raise ValueError(f"components of type {dense.dtype} cannot be read")
    return struct.unpack(f"<{len(dense.data) // struct.calcsize(letter)}{letter}", dense.data)


def score(metric: "vector_pb2.Metric.ValueType", left: Numbers, right: Numbers) -> float:
    """How close two vectors are, higher is closer, as `Metric` defines the score.

    Raises ValueError for a metric without vectors.
    """
    product = math.sumprod(left, right) if hasattr(math, "sumprod") else _product(left, right)
    if metric in {vector_pb2.METRIC_COSINE, vector_pb2.METRIC_UNSPECIFIED}:
        lengths = math.hypot(*left) * math.hypot(*right)
        return product / lengths if lengths else 0.0
    if metric == vector_pb2.METRIC_INNER_PRODUCT:
        return product
    if metric == vector_pb2.METRIC_EUCLIDEAN:
        return 1 / (1 + math.dist(left, right))
    if metric == vector_pb2.METRIC_TANIMOTO:
        either = sum(left) + sum(right) - product
        return product / either if either else 1.0
    if metric == vector_pb2.METRIC_HAMMING:
        differing = sum(a != b for a, b in zip(left, right, strict=True))
        return 1 - differing / len(left)
    raise ValueError(f"{vector_pb2.Metric.Name(metric)} compares no vectors")


def _product(left: Numbers, right: Numbers) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))
