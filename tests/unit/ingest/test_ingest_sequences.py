"""Nucleotide sequences: read from records of any form, and cut into windows."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.sequence_record import (
    Window,
    canonical_strand,
    cut_windows,
    read_record,
    reverse_complement,
)

BASES = st.text("ACGTURYSWKMBDHVN", max_size=300).map(str.encode)


def record(data: bytes) -> tuple[str, bytes]:
    found = read_record(io.BytesIO(data))
    return found.name, b"".join(found.pieces)


@pytest.mark.parametrize(
    ("data", "name", "bases"),
    [
        (b"acgt\nNN", "", b"ACGTNN"),
        (b">chr1 of a fly\nACGT\r\nACG\r\n", "chr1", b"ACGTACG"),
        (b"\n\n>\nAC", "", b"AC"),
        (b"@read/1\nACGT\n+\n!!!!\n", "read/1", b"ACGT"),
        (b"@r\nAC\nGT\n+r\n@!>!\n", "r", b"ACGT"),
        (b">" + b"long " * 40_000 + b"\nACGT", "long", b"ACGT"),
        (b"AC GU-.", "", b"ACGU-."),
        (b"", "", b""),
        (b">only a header", "only", b""),
    ],
)
def test_records_are_read(data: bytes, name: str, bases: bytes) -> None:
    assert record(data) == (name, bases)


def test_a_record_longer_than_what_is_read_at_once() -> None:
    lines = b"ACGTTGCA\n" * 30_000
    assert record(b">x\n" + lines) == ("x", b"ACGTTGCA" * 30_000)
    assert record(b"@x\n" + b"ACGT" * 60_000 + b"\n+\n+++") == ("x", b"ACGT" * 60_000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"ACGJ", "'J'"),
        (b">a\nAC\n>b\nGT", "several records"),
        (b"AC\xffGT", "IUPAC"),
        (b"A1", "'1'"),
    ],
)
def test_other_letters_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidContentError, match=words):
        record(data)


@given(BASES, st.integers(1, 40), st.integers(1, 60), st.integers(1, 30))
def test_windows_are_of_one_length_and_end_with_the_record(
    bases: bytes, length: int, step: int, piece: int
) -> None:
    pieces = [bases[start : start + piece] for start in range(0, len(bases), piece)]
    windows = list(cut_windows(pieces, length, step))
    assert all(bases[each.start : each.end] == each.bases for each in windows)
    assert all(len(each.bases) == min(length, len(bases)) for each in windows)
    assert bool(windows) == bool(bases)
    if bases:
        assert windows[0].start == 0
        assert max(each.end for each in windows) == len(bases) or step > length
    starts = [each.start for each in windows]
    assert starts == sorted(set(starts))
    assert starts[:-1] == [number * step for number in range(len(starts) - 1)]


@given(BASES)
def test_without_a_length_a_record_is_one_window(bases: bytes) -> None:
    assert list(cut_windows([bases[:9], bases[9:]], 0, 0)) == ([Window(0, bases)] if bases else [])


@given(BASES)
def test_both_strands_have_one_canonical_strand(bases: bytes) -> None:
    dna = bases.replace(b"U", b"T")
    assert reverse_complement(reverse_complement(dna)) == dna
    assert canonical_strand(dna) == canonical_strand(reverse_complement(dna))


def test_the_reverse_complement_knows_ambiguous_letters() -> None:
    assert reverse_complement(b"AACGTRYSWKMBDHVN-") == b"-NBDHVKMWSRYACGTT"


@pytest.mark.parametrize(("bases", "known"), [(b"ACGT", True), (b"ACNN", True), (b"ANNN", False)])
def test_a_window_of_gaps_is_not_known(bases: bytes, known: bool) -> None:
    assert Window(0, bases).known is known
