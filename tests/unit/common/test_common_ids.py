"""Entity ids and resource names."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidArgumentError
from lookalike_common.ids import WHOLE, entity_id, parse_name


def test_entity_ids_never_change() -> None:
    parts = [b"photos/cat.jpg", b"whole", b"0"]
    expected = hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()
    assert entity_id("photos/cat.jpg", WHOLE, 0) == expected[:32]


@given(
    st.tuples(st.text(), st.text(), st.integers()), st.tuples(st.text(), st.text(), st.integers())
)
def test_different_segments_have_different_ids(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    assert (entity_id(*one) == entity_id(*other)) == (one == other)


def test_names_are_taken_apart() -> None:
    name = "collections/photos/entities/a:b~c"
    assert parse_name(name, "collections", "entities") == ("photos", "a:b~c")
    assert parse_name("encoders/minilm-l6-v2@1", "encoders") == ("minilm-l6-v2@1",)


@pytest.mark.parametrize(
    "name", ["", "photos", "collections/", "collections/A", "collections/a/b", "collections/a\n"]
)
def test_a_wrong_name_is_refused_at_its_field(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"collections/\{collection\}") as caught:
        parse_name(name, "collections", field="collection")
    assert caught.value.field == "collection"


def test_the_form_of_entity_names_is_told() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"collections/\{collection\}/entities/\{entity\}"
    ):
        parse_name("x", "collections", "entities")
