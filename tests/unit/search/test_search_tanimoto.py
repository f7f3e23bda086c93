"""The ranking by Tanimoto out of a ranking by cosine, against brute force; and bits in columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_search.adapters.milvus.searches import Answer, Counts
from lookalike_search.adapters.milvus.tanimoto import nearest
from lookalike_search.adapters.milvus.vector_columns import (
    Form,
    VectorColumn,
    column_of,
)
from lookalike_search.model import (
    Bits,
    EntityRecord,
    Metric,
    Neighbor,
    Vector,
    VectorFieldSpec,
    VectorKind,
)

SIZE = 24


def bits(number: int, size: int = SIZE) -> Bits:
    return Bits(number.to_bytes(-(-size // 8), "little"), size)


def common(first: Bits, second: Bits) -> int:
    return (int.from_bytes(first.data) & int.from_bytes(second.data)).bit_count()


def tanimoto(first: Bits, second: Bits) -> float:
    both = common(first, second)
    return both / (first.count + second.count - both)


class Rows:
    """Ranks by cosine, rounded as float32 does, and counts how often it is asked."""

    def __init__(self, rows: Sequence[Bits], query: Bits) -> None:
        self.asked: list[tuple[int, Counts | None]] = []
        self._rows = rows
        self._query = query

    async def look(self, window: int, counts: Counts | None) -> Answer:
        self.asked.append((window, counts))
        found = []
        for number, row in enumerate(self._rows):
            if counts is not None and not counts.low <= row.count <= counts.high:
                continue
            exact = common(row, self._query) / math.sqrt(row.count * self._query.count)
            score = tanimoto(row, self._query)
            neighbor = Neighbor(EntityRecord(id=f"{number:05d}"), score, 1 - score)
            found.append((float(np.float32(exact)), neighbor))
        found.sort(key=lambda each: (-each[0], -int(each[1].record.id)))  # ties the wrong way round
        found = found[:window]
        neighbors = sorted((each for _, each in found), key=by_rank)
        return Answer(neighbors, found[-1][0] if found else 0.0)

    def best(self, limit: int) -> list[tuple[float, str]]:
        ranked = sorted((-tanimoto(row, self._query), i) for i, row in enumerate(self._rows))
        return [(-score, f"{i:05d}") for score, i in ranked[:limit]]


def by_rank(neighbor: Neighbor) -> tuple[float, str]:
    return -neighbor.score, neighbor.record.id


NUMBERS = st.integers(1, 2**SIZE - 1)
# Few bits, or almost the same ones: many that are equal, and many that cosine ranks otherwise.
SPARSE = st.sets(st.integers(0, SIZE - 1), min_size=1).map(lambda some: sum(1 << i for i in some))
ROWS = st.lists(st.one_of(NUMBERS, SPARSE, st.sampled_from([1, 3, 7, 15, 255])), max_size=60)


@given(rows=ROWS, query=st.one_of(NUMBERS, SPARSE), limit=st.integers(1, 20))
async def test_ranking_equals_brute_force(rows: list[int], query: int, limit: int) -> None:
    backend = Rows([bits(each) for each in rows], bits(query))
    found = await nearest(backend.look, bits(query), limit=limit, most=1000)
    assert [(each.score, each.record.id) for each in found] == backend.best(limit)


@given(rows=ROWS, query=st.one_of(NUMBERS, SPARSE), limit=st.integers(1, 10))
async def test_a_window_that_is_too_small_costs_only_equals(
    rows: list[int], query: int, limit: int
) -> None:
    """The vectors are taken apart by their number of bits, so that no better one is missed."""
    backend = Rows([bits(each) for each in rows], bits(query))
    found = await nearest(backend.look, bits(query), limit=limit, most=limit)
    best = backend.best(limit)
    assert [each.score for each in found] == [score for score, _ in best]
    better = [each for each in best if each[0] > best[-1][0]]
    assert [(each.score, each.record.id) for each in found][: len(better)] == better
    assert max(window for window, _ in backend.asked) <= limit


async def test_the_best_is_found_behind_a_thousand_that_cosine_prefers() -> None:
    """Small subsets of the query have a higher cosine than a larger, more similar one."""
    query = Bits(b"\xff" * 8 + b"\x00" * 8, 128)
    subset = Bits(b"\xff" * 2 + b"\x00" * 14, 128)  # cosine .5, Tanimoto .25
    similar = Bits(b"\x00" * 4 + b"\xff" * 8 + b"\x00" * 4, 128)  # cosine .5, Tanimoto .33
    backend = Rows([*[subset] * 1000, similar], query)
    (found,) = await nearest(backend.look, query, limit=1, most=64)
    assert found.record.id == "01000"
    assert len(backend.asked) < 20


def subsets_of(query: Bits, count: int, rng: np.random.Generator) -> list[Bits]:
    """Return bits of few and of many, most of them the query's: cosine and Tanimoto disagree."""
    own = np.unpackbits(np.frombuffer(query.data, np.uint8), bitorder="little").astype(bool)
    kept = rng.random((count, query.size)) < rng.uniform(0.05, 1, (count, 1))
    noise = rng.random((count, query.size)) < rng.uniform(0, 0.3, (count, 1)) ** 2
    chosen = (own & kept) | noise
    chosen[:, 0] |= ~chosen.any(axis=1)
    packed = np.packbits(chosen, axis=1, bitorder="little")
    return [Bits(each.tobytes(), query.size) for each in packed]


@pytest.mark.parametrize("most", [20, 40, 1000])
@pytest.mark.parametrize("seed", range(10))
async def test_ranking_of_many_equals_brute_force(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    packed = np.packbits(rng.random(128) < rng.uniform(0.1, 0.6), bitorder="little")
    query = Bits(packed.tobytes(), 128)
    backend = Rows(subsets_of(query, 400, rng), query)
    for limit in (1, 3, 10, 20):
        found = await nearest(backend.look, query, limit=limit, most=most)
        assert [each.score for each in found] == [score for score, _ in backend.best(limit)]
        if most == 1000:
            assert [each.record.id for each in found] == [each for _, each in backend.best(limit)]


async def test_of_the_same_bits_those_with_the_lowest_ids_are_returned() -> None:
    query = bits(0b1011)
    backend = Rows([query] * 200, query)
    found = await nearest(backend.look, query, limit=5, most=1000)
    assert [each.record.id for each in found] == [f"{number:05d}" for number in range(5)]


async def test_molecules_need_one_look() -> None:
    rng = np.random.default_rng(3)
    packed = np.packbits(rng.random((500, 256)) < 0.1, axis=1)
    rows = [Bits(each.tobytes(), 256) for each in packed]
    backend = Rows(rows, rows[7])
    found = await nearest(backend.look, rows[7], limit=10, most=16_384)
    assert [each.record.id for each in found] == [each for _, each in backend.best(10)]
    assert backend.asked == [(28, None)]


@given(first=st.binary(min_size=1, max_size=512), second=st.binary(min_size=1, max_size=512))
def test_rounded_numbers_give_the_exact_coefficient(first: bytes, second: bytes) -> None:
    size = 8 * max(len(first), len(second))
    a = Bits(first.ljust(size // 8, b"\x01"), size)
    b = Bits(second.ljust(size // 8, b"\x01"), size)
    if not a.count or not b.count:
        return
    exact = tanimoto(a, b)
    cosine = common(a, b) / math.sqrt(a.count * b.count)
    for native_bits, number in ((False, cosine), (True, 1 - exact)):
        stored = column(Metric.TANIMOTO, native_bits=native_bits, dimensions=size)
        for error in (-1e-6, 0.0, 1e-6):
            rounded = float(np.float32(number)) + error
            assert stored.measure(a, [rounded], [b.count]) == [(exact, 1 - exact)]


# --- columns -----------------------------------------------------------------------------------


def column(metric: Metric, *, native_bits: bool, dimensions: int = 12) -> VectorColumn:
    spec = VectorFieldSpec(
        name="print", dimensions=dimensions, metric=metric, kind=VectorKind.BINARY
    )
    return column_of(spec, native_bits=native_bits)


@pytest.mark.parametrize("native_bits", [False, True])
@given(numbers=st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=5))
def test_bits_come_back_from_either_column(native_bits: bool, numbers: list[int]) -> None:
    vectors: list[Vector] = [bits(each, 12) for each in numbers]
    for metric in (Metric.TANIMOTO, Metric.HAMMING):
        stored = column(metric, native_bits=native_bits)
        data, *_ = stored.pack(vectors)
        assert stored.unpack(data, len(vectors)) == vectors


def test_columns_of_bits() -> None:
    native = column(Metric.TANIMOTO, native_bits=True)
    assert (native.form, native.metric_name, native.ranks_by_cosine) == (
        Form.BITS,
        "JACCARD",
        False,
    )
    vectors, counts = native.schemas()
    assert vectors.type_params[0].value == "16"  # whole bytes
    assert counts.name == "n_print"
    spread = column(Metric.TANIMOTO, native_bits=False)
    assert (spread.form, spread.metric_name, spread.ranks_by_cosine) == (
        Form.SPREAD,
        "IP",
        True,
    )
    assert [each.name for each in spread.schemas()] == ["v_print", "n_print"]
    packed, numbers = spread.pack([bits(0b1011, 12)])
    assert list(numbers.scalars.long_data.data) == [3]
    on = float(np.float32(3**-0.5))
    assert list(packed.vectors.float_vector.data) == [on, on, 0, on] + [0] * 8
    assert column(Metric.HAMMING, native_bits=True).metric_name == "HAMMING"
    spread = column(Metric.HAMMING, native_bits=False)
    assert (spread.metric_name, spread.count_name) == ("IP", "")
    (packed,) = spread.pack([bits(0b1011, 12)])
    assert list(packed.vectors.float_vector.data) == [1, 1, -1, 1] + [-1] * 8


def test_scores_of_servers() -> None:
    """A server says the Jaccard and the Hamming distance."""
    query = bits(0b11, 12)
    native = column(Metric.TANIMOTO, native_bits=True)
    assert native.measure(query, [0.5], [4]) == [(0.5, 0.5)]
    hamming = column(Metric.HAMMING, native_bits=True)
    assert hamming.measure(query, [3.0], []) == [(0.75, 3.0)]
