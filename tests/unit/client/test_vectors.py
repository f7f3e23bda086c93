"""Vectors of replies as numbers, their scores, and numpy's file format."""

import io

import numpy as np
import pytest

from lookalike.type.v1 import vector_pb2
from lookalike_client._vectors import components, score
from lookalike_client.cli.vectors import npy

RNG = np.random.default_rng(3)
DENSE = RNG.normal(size=(5, 7)).astype("float32")
BITS = RNG.integers(0, 2, size=(5, 20), dtype="uint8")


def test_dense_vectors_are_read() -> None:
    for dtype, kind in (
        (vector_pb2.DATA_TYPE_FLOAT32, "<f4"),
        (vector_pb2.DATA_TYPE_FLOAT16, "<f2"),
    ):
        sent = DENSE[0].astype(kind)
        dense = vector_pb2.DenseVector(data=sent.tobytes(), dtype=dtype)
        assert list(components(vector_pb2.Vector(dense=dense))) == sent.tolist()
    listed = vector_pb2.DenseVector(values=[0.5, 2.0])
    assert list(components(vector_pb2.Vector(dense=listed))) == [0.5, 2.0]


def test_bits_are_read_lowest_first() -> None:
    packed = np.packbits(BITS[0], bitorder="little").tobytes()
    binary = vector_pb2.BinaryVector(data=packed, dimensions=20)
    assert list(components(vector_pb2.Vector(binary=binary))) == BITS[0].tolist()


def test_other_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="dense and binary"):
        components(vector_pb2.Vector())


def test_scores_are_those_of_numpy() -> None:
    left, right = DENSE[0].astype(float), DENSE[1].astype(float)
    dot = float(left @ right)
    cosine = dot / float(np.linalg.norm(left) * np.linalg.norm(right))
    distance = float(np.linalg.norm(left - right))
    expected = {
        vector_pb2.METRIC_COSINE: cosine,
        vector_pb2.METRIC_INNER_PRODUCT: dot,
        vector_pb2.METRIC_EUCLIDEAN: 1 / (1 + distance),
    }
    for metric, value in expected.items():
        assert score(metric, left.tolist(), right.tolist()) == pytest.approx(value)


def test_scores_of_bits_are_those_of_numpy() -> None:
    left, right = BITS[0], BITS[1]
    shared, either = int((left & right).sum()), int((left | right).sum())
    pair = left.tolist(), right.tolist()
    assert score(vector_pb2.METRIC_TANIMOTO, *pair) == pytest.approx(shared / either)
    assert score(vector_pb2.METRIC_HAMMING, *pair) == pytest.approx((left == right).mean())


def test_vectors_of_nothing_have_a_score() -> None:
    assert score(vector_pb2.METRIC_COSINE, [0.0, 0.0], [1.0, 0.0]) == 0
    assert score(vector_pb2.METRIC_TANIMOTO, [0, 0], [0, 0]) == 1
    with pytest.raises(ValueError, match="BM25"):
        score(vector_pb2.METRIC_BM25, [1.0], [1.0])


@pytest.mark.parametrize("rows", [DENSE, BITS], ids=["numbers", "bits"])
def test_numpy_reads_what_is_written(rows: np.ndarray) -> None:
    data = npy([row.tolist() for row in rows])
    read = np.load(io.BytesIO(data), allow_pickle=False)
    assert read.dtype == rows.dtype
    assert np.array_equal(read, rows)
    assert data.index(b"\n") % 64 == 63
