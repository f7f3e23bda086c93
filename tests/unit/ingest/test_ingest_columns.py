"""What a row of a table says, by its column mapping."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from lookalike_common.errors import InvalidArgumentError, InvalidContentError
from lookalike_ingest.columns import (
    RowContent,
    Value,
    attribute_names,
    check_present,
    parse_columns,
    read_content,
)


def read(values: Mapping[str, Value], **columns: str) -> RowContent:
    mapping = parse_columns({key.replace("__", "."): column for key, column in columns.items()})
    return read_content(values, mapping, attribute_names(values, mapping))


def test_columns_that_are_not_named_become_attributes() -> None:
    values: dict[str, Value] = {
        "id": 7,
        "body": "hello",
        "Unit Price": 2.5,
        "1st": True,
        "text": "reserved",
        "tags": ["a", {"b": None}],
        "": "nobody can name it",
        "nothing": None,
    }
    row = read(values, item="id", text="body", attributes__cost="Unit Price")
    assert (row.item, row.row.text) == ("7", "hello")
    assert row.row.attributes == {
        "cost": 2.5,
        "column_1st": True,
        "column_text": "reserved",
        "tags": ["a", {"b": None}],
    }


@pytest.mark.parametrize("value", [[1, 2.5], "[1, 2.5]", struct.pack("<2f", 1, 2.5)])
def test_vectors_come_in_several_forms(value: Value) -> None:
    assert read({"v": value}, vectors__vector="v").row.vectors == {
        "vector": struct.pack("<2f", 1, 2.5)
    }


@pytest.mark.parametrize("value", [None, [], "", "[]", "x", ["a"], [1e300], {"a": 1}, 5, [[1]]])
def test_what_is_no_vector_is_refused(value: Value) -> None:
    with pytest.raises(InvalidContentError, match="'v'"):
        read({"v": value, "t": "x"}, vectors__vector="v", text="t")


@pytest.mark.parametrize(
    ("values", "columns", "words"),
    [
        ({"t": ""}, {"text": "t"}, "says nothing"),
        ({"t": ["x"]}, {"text": "t"}, "holds no text"),
        ({"t": "x", "id": None}, {"text": "t", "item": "id"}, "no key"),
        ({"t": "x", "a b": 1, "a-b": 2}, {"text": "t"}, "second attribute"),
    ],
)
def test_bad_rows_say_what_is_wrong(
    values: Mapping[str, Value], columns: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidContentError, match=words):
        read(values, **columns)


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ({}, ""),
        ({"item": "id"}, ""),
        ({"text": "a", "smiles": "b"}, ""),
        ({"uri": "a", "title": "b"}, ""),
        ({"vectors.v": "v", "smiles": "a", "sequence": "b"}, ""),
        ({"text": "a", "colour": "b"}, "colour"),
        ({"text": ""}, "text"),
        ({"text": "a", "attributes.item": "b"}, "attributes.item"),
        ({"text": "a", "attributes.a b": "b"}, "attributes.a b"),
    ],
)
def test_mappings_without_sense_are_refused(mapping: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_columns(mapping)
    assert raised.value.field == field


def test_a_row_of_given_vectors_may_say_where_it_came_from() -> None:
    row = read({"v": [1], "u": "https://x/1", "t": "a"}, vectors__v="v", uri="u", text="t")
    assert (row.uri, row.row.text, set(row.row.vectors)) == ("https://x/1", "a", {"v"})


def test_mapped_columns_must_be_there() -> None:
    mapping = parse_columns({"text": "body", "attributes.a": "b"})
    check_present({"body", "b"}, mapping)
    with pytest.raises(InvalidContentError, match="'b'"):
        check_present({"body"}, mapping)
