"""FASTA, FASTQ, SDF, SMI: each record with its bytes and name; broken ones cost no others."""

from __future__ import annotations

import io
import tracemalloc
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.sources.formats import RecordFormat, record_format, table_format
from lookalike_ingest.sources.lines import Line, RecordLimits, read_lines
from lookalike_ingest.sources.records import (
    NamedRecord,
    read_records,
)

LIMITS = RecordLimits(bytes=200)


def records(data: bytes, form: RecordFormat, limits: RecordLimits = LIMITS) -> list[NamedRecord]:
    found = list(read_records(read_lines(io.BytesIO(data), limits.bytes), form, limits))
    for each in found:
        if each.record.problem is None:
            piece = data[each.record.offset : each.record.offset + each.record.length]
            assert piece == each.record.data
    return found


def shape(found: list[NamedRecord]) -> list[tuple[int, str, bool]]:
    return [(each.record.line, each.name, each.record.problem is None) for each in found]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abcXYZ019_.|", min_size=1, max_size=10),
            st.lists(st.text("ACGTNacgt", min_size=1, max_size=12), min_size=1, max_size=4),
        ),
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(0, 2),
)
def test_fasta_is_cut_at_its_headers(
    written: list[tuple[str, list[str]]], ending: str, blank: int
) -> None:
    text = ending * blank + "".join(
        f">{name} a description{ending}{ending.join(lines)}{ending}" for name, lines in written
    )
    found = records(text.encode(), "fasta", RecordLimits())
    assert [each.name for each in found] == [name for name, _ in written]
    sequences = [b"".join(each.record.data.split()[3:]).decode() for each in found]
    assert sequences == ["".join(lines) for _, lines in written]


def test_broken_fasta_records_fail_alone() -> None:
    data = b"ACGT\nno header\n>a\nACGT\n>empty\n\n>b x\nAC\nGT\n>long\n" + b"ACGTACGT\n" * 40
    assert shape(records(data + b">c\nA\n", "fasta")) == [
        (1, "", False),
        (3, "a", True),
        (5, "empty", False),
        (7, "b", True),
        (10, "long", False),
        (51, "c", True),
    ]


def test_a_sequence_on_one_endless_line_is_refused_in_little_memory() -> None:
    found = records(b">a\n" + b"A" * 100_000 + b"\n>b\nC\n", "fasta")
    assert shape(found) == [(1, "a", False), (3, "b", True)]
    assert isinstance(found[0].record.problem, LimitExceededError)
    assert found[0].record.length == 100_004


@pytest.mark.parametrize("form", ["fasta", "sdf"])
def test_a_record_of_very_many_lines_is_never_held(form: RecordFormat) -> None:
    lines = (Line(number, 1000 * number, 1000, bytes(1000)) for number in range(1, 10_000))
    first = Line(0, 997, 3, b">a\n")
    tracemalloc.start()
    (found,) = read_records(chain([first], lines), form, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found.record.problem, LimitExceededError)
    assert peak < 1 << 20


def test_fastq_goes_on_behind_a_broken_record() -> None:
    good = b"@%s\nACGT\n+\n!!!!\n"
    data = good % b"one x" + b"@short\nACGT\n+\n!!\n" + b"junk\n" + good % b"two"
    data += b"@noplus\nACGT\n-\n!!!!\n" + good % b"three" + b"@cut\nACGT\n"
    assert shape(records(data, "fastq")) == [
        (1, "one", True),
        (5, "short", False),
        (9, "", False),
        (10, "two", True),
        (14, "noplus", False),
        (18, "three", True),
        (22, "cut", False),
    ]


def test_sdf_is_cut_at_its_dollars() -> None:
    data = b"first\nx\n\nM  END\n$$$$\n\nunnamed\nM  END\n$$$$\r\nlast\nM  END\n\n"
    found = records(data, "sdf")
    assert shape(found) == [(1, "first", True), (6, "", True), (10, "last", True)]
    assert b"$$$$" not in b"".join(each.record.data for each in found)
    assert shape(records(b"a\n" + b"x\n" * 200 + b"$$$$\nb\n$$$$\n", "sdf")) == [
        (1, "a", False),
        (203, "b", True),
    ]


def test_smi_lines_have_a_name_behind_the_smiles() -> None:
    data = b"smiles name\nCCO ethanol\n\n# comment\nC\tmethane gas \nCC\n"
    found = records(data, "smi")
    assert shape(found) == [(2, "ethanol", True), (5, "methane gas", True), (6, "", True)]


@pytest.mark.parametrize("form", ["fasta", "fastq", "sdf", "smi"])
@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_records_or_problems(form: RecordFormat, data: bytes) -> None:
    """Nothing is read twice, and what is wrong has words for it."""
    end = 0
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        with pytest.raises(InvalidContentError, match="UTF-16"):
            records(data, form)
        return
    for each in records(data, form):
        assert each.record.offset >= end
        end = each.record.offset + each.record.length
    assert end <= len(data)


def test_names_tell_the_format() -> None:
    names = ("a.FASTA", "b.fq.gz", "c.sdf", "d.smi.zst", "e.txt", "f")
    assert [record_format(name) for name in names] == ["fasta", "fastq", "sdf", "smi", None, None]
    tables = ("a.csv.gz", "b.TSV", "c.ndjson", "d.parquet")
    assert [table_format(name, b"") for name in tables] == ["csv", "csv", "jsonl", "parquet"]
    starts = (b"PAR1\0", b'\xef\xbb\xbf {"a"', b"a,b")
    assert [table_format("x", start) for start in starts] == ["parquet", "jsonl", "csv"]
