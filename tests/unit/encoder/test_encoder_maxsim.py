"""Scores by the vectors of tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike_encoder.maxsim import maxsim


def tokens(seed: int, count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def naive(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    return float(np.mean([max(float(q @ d) for d in document) for q in query]))


@given(st.integers(1, 6), st.lists(st.integers(1, 6), max_size=6), st.integers(0, 1000))
def test_scores_are_those_of_the_definition(query: int, lengths: list[int], seed: int) -> None:
    asked = tokens(seed, query)
    documents = [tokens(seed + 1 + index, length) for index, length in enumerate(lengths)]
    expected = [naive(asked, each) for each in documents]
    assert maxsim(asked, documents).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_document_with_all_of_the_query_scores_one() -> None:
    query = tokens(1, 3)
    document = np.concatenate([tokens(2, 4), query[::-1]])
    assert maxsim(query, [document, -query]).tolist() == pytest.approx([1, naive(query, -query)])
    assert maxsim(query, [document])[0] <= 1
