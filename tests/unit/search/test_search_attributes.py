from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidArgumentError, LimitExceededError
from lookalike_search.attributes import (
    MAX_ATTRIBUTES_BYTES,
    canonical_json,
    coerce_attributes,
    coerce_value,
    format_timestamp,
    parse_timestamp,
)
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSpec,
    JsonValue,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def spec(*attributes: AttributeSpec) -> CollectionSpec:
    return CollectionSpec(id="c", uid="u", create_time=NOW, vector_fields=(), attributes=attributes)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner.filter(lambda each: each is not None), max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}_x", fullmatch=True)


@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_what_is_stored_has_no_nulls_and_does_not_change_again(
    attributes: dict[str, JsonValue],
) -> None:
    stored = coerce_attributes(attributes, spec())
    assert coerce_attributes(stored, spec()) == stored
    assert set(stored) == {name for name, value in attributes.items() if value is not None}
    assert json.loads(canonical_json(stored)) == stored

    def check(value: JsonValue) -> None:
        assert value is not None
        for each in value if isinstance(value, list) else ():
            check(each)
        for each in value.values() if isinstance(value, dict) else ():
            check(each)

    check(stored)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (AttributeType.INT, 3.0, 3),
        (AttributeType.INT, "9223372036854775807", 2**63 - 1),
        (AttributeType.INT, "-9223372036854775808", -(2**63)),
        (AttributeType.DOUBLE, 3, 3.0),
        (AttributeType.BOOL, True, True),
        (AttributeType.STRING, "", ""),
        (
            AttributeType.TIMESTAMP,
            "2026-01-31T12:00:00.1234567+02:00",
            "2026-01-31T10:00:00.123456Z",
        ),
        (AttributeType.STRING_LIST, [], []),
        (AttributeType.JSON, {"a": [1.0, None]}, None),
        (AttributeType.JSON, {"a": None, "b": 1.0}, {"b": 1}),
    ],
)
def test_declared_types(kind: AttributeType, value: JsonValue, stored: JsonValue) -> None:
    attribute = AttributeSpec(name="a", type=kind)
    if stored is None:
        with pytest.raises(InvalidArgumentError):
            coerce_value(value, attribute, "attributes.a")
        return
    found = coerce_value(value, attribute, "attributes.a")
    assert canonical_json(found) == canonical_json(stored)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (AttributeType.INT, True),
        (AttributeType.INT, 2.0**60),
        (AttributeType.INT, "9223372036854775808"),
        (AttributeType.INT, "1e3"),
        (AttributeType.INT, "\u0661"),
        (AttributeType.DOUBLE, "3"),
        (AttributeType.DOUBLE, float("nan")),
        (AttributeType.DOUBLE, float("inf")),
        (AttributeType.DOUBLE, True),
        (AttributeType.BOOL, 1.0),
        (AttributeType.STRING, 1.0),
        (AttributeType.TIMESTAMP, "2026-01-31T12:00:00"),
        (AttributeType.TIMESTAMP, "2026-01-31"),
        (AttributeType.TIMESTAMP, 5.0),
        (AttributeType.STRING_LIST, "a"),
        (AttributeType.STRING_LIST, ["a", 1.0]),
        (AttributeType.JSON, float("nan")),
    ],
)
def test_wrong_types(kind: AttributeType, value: JsonValue) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        coerce_attributes({"a": value}, spec(AttributeSpec(name="a", type=kind)))
    assert caught.value.field == "attributes.a"


def test_limits() -> None:
    fits = {"a": "x" * (MAX_ATTRIBUTES_BYTES - len('{"a":""}'))}
    assert coerce_attributes(fits, spec()) == fits
    with pytest.raises(LimitExceededError):
        coerce_attributes({"a": fits["a"] + "x"}, spec())
    deep: JsonValue = 1
    for _ in range(20):
        deep = [deep]
    with pytest.raises(LimitExceededError):
        coerce_attributes({"a": deep}, spec())


MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(MOMENTS, MOMENTS)
def test_timestamps_order_as_texts(one: datetime, other: datetime) -> None:
    assert (format_timestamp(one) < format_timestamp(other)) is (one < other)
    assert parse_timestamp(format_timestamp(one)) == one
