"""CSV and JSONL: rows found with their bytes, also behind broken ones, read like Python's csv."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.sources.csv_rows import CsvRows, parse_row
from lookalike_ingest.sources.json_lines import parse_json_line, read_json_lines
from lookalike_ingest.sources.lines import Record, RecordLimits, read_lines

LIMITS = RecordLimits(bytes=200, columns=8)
CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)


def csv_rows(data: bytes, limits: RecordLimits = LIMITS) -> CsvRows:
    return CsvRows(read_lines(io.BytesIO(data), limits.bytes), limits)


def json_records(data: bytes, limits: RecordLimits = LIMITS) -> list[Record]:
    return list(read_json_lines(read_lines(io.BytesIO(data), limits.bytes), limits))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=6),
    st.sampled_from(",\t;|"),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_rows_are_those_that_csv_wrote(
    table: list[list[str]], delimiter: str, ending: str, mark: bool
) -> None:
    """Quoted line breaks and quotation marks included; each row is found by its bytes alone."""
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow([f"column {n}" for n in range(4)])
    writer.writerows(table)
    data = (b"\xef\xbb\xbf" if mark else b"") + written.getvalue().encode()
    rows = csv_rows(data, RecordLimits())
    assert rows.header.delimiter == delimiter
    assert rows.header.columns == [f"column {n}" for n in range(4)]
    found = list(rows)
    assert [record.problem for record in found] == [None] * len(table)
    slices = [data[record.offset : record.offset + record.length] for record in found]
    assert slices == [record.data for record in found]
    assert [list(parse_row(piece, delimiter, 8)) for piece in slices] == table


def test_a_broken_row_spoils_only_itself() -> None:
    """Lines are counted as an editor does, also behind values of several lines."""
    data = b'a,b\n1,"x\ny"\n2,"open\n3,c\n\n4,"q"z\n5,d\n' + b"6," + b"e" * 300 + b"\n7,f\n"
    rows = list(csv_rows(data))
    good = {row.line: list(parse_row(row.data, ",", 8)) for row in rows if row.problem is None}
    assert good == {2: ["1", "x\ny"], 5: ["3", "c"], 8: ["5", "d"], 10: ["7", "f"]}
    bad = {row.line: type(row.problem) for row in rows if row.problem}
    assert bad == {4: InvalidContentError, 7: InvalidContentError, 9: LimitExceededError}


def test_a_mark_that_nothing_closes_costs_its_row_only() -> None:
    rows = list(csv_rows(b'a,b\n1,"open\n2,x\n3,y\n'))
    assert [(row.line, row.problem is None) for row in rows] == [(2, False), (3, True), (4, True)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b"\n \n", "no header"),
        (b"a,b,a\n", "twice"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,\xff\n", "UTF-8"),
        (b'"a,b\n1,2\n', "not closed"),
    ],
)
def test_a_table_without_a_header_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidContentError, match=words):
        csv_rows(data)


def test_what_is_no_utf8_is_one_rows_problem() -> None:
    rows = list(csv_rows(b"a,b\n1,\xff\n2,x\n"))
    with pytest.raises(InvalidContentError, match="UTF-8"):
        parse_row(rows[0].data, ",", 8)
    assert parse_row(rows[1].data, ",", 8) == ["2", "x"]


@pytest.mark.parametrize("row", [b"," * 1_000_000 + b"\n", b'"",' * 10_000 + b"\n"])
def test_rows_of_very_many_columns_are_refused(row: bytes) -> None:
    """Unquoted ones even without looking at them."""
    limits = RecordLimits()
    (found,) = csv_rows(b"a,b\n" + row, limits)
    assert found.problem is None
    with pytest.raises(LimitExceededError, match="at most 4096"):
        parse_row(found.data, ",", limits.columns)
    with pytest.raises(LimitExceededError, match="at most 4096"):
        csv_rows(row, limits)
    wide = b"{" + b",".join(b'"%d":1' % n for n in range(10_000)) + b"}"
    with pytest.raises(LimitExceededError, match="at most 4096"):
        parse_json_line(wide, limits.columns)


def test_rows_of_just_the_limit_are_taken() -> None:
    assert len(parse_row(b",".join([b"x"] * 8), ",", 8)) == 8
    with pytest.raises(LimitExceededError):
        parse_row(b",".join([b"x"] * 9), ",", 8)
    line = b'"' + b"x" * 197 + b'"\n'
    assert [each.problem for each in json_records(line)] == [None]
    (long,) = json_records(b" " + line)
    assert isinstance(long.problem, LimitExceededError)


def test_json_lines_are_objects_each_for_itself() -> None:
    lines = [
        b'{"a": 1, "b": {"c": [true, null]}}',
        b'{"a": 1',
        b"",
        b"[1]",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b"[" * 150,
        b'{"a": 2}',
    ]
    data = b"\xef\xbb\xbf" + b"\r\n".join(lines)
    found: dict[int, object] = {}
    for record in json_records(data):
        assert data[record.offset : record.offset + record.length] == record.data
        try:
            found[record.line] = parse_json_line(record.data, 8)
        except InvalidContentError:
            found[record.line] = "broken"
    broken = dict.fromkeys((2, 4, 5, 6, 7, 8), "broken")
    assert found == {1: {"a": 1, "b": {"c": [True, None]}}, 9: {"a": 2}} | broken


def test_json_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(InvalidContentError):
        parse_json_line(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 8)
