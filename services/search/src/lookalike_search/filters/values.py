"""Turns the values of a filter into the type of the field that they are compared with.

- string, and members of a string_list: anything, quoted or bare
- int: a whole number of 64 bits; double: a number; bool: `true` or `false`; all bare
- timestamp: RFC 3339 with a zone, quoted or bare
- json and undeclared: by its form: quoted is text; bare `true`, `false` and numbers are what they
  look like; anything else bare is text
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from lookalike_search.attributes import format_timestamp, parse_timestamp
from lookalike_search.filters.ast import Value
from lookalike_search.filters.checked import Field, Origin, Scalar
from lookalike_search.filters.scanner import invalid
from lookalike_search.model import AttributeType

LARGEST_INT: Final = 2**63 - 1
"""Whole numbers lie between this and its negative: no backend reads -2^63 as one number."""

_INT: Final = re.compile(r"-?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_BOOLS: Final = {"true": True, "false": False}
_ASSET_PREFIX: Final = "assets/"


def convert(value: Value, field: Field) -> Scalar:
    """Return the value in the type of `field`, or raise `InvalidFilterError` at its offset."""
    return _CONVERSIONS[field.type](value, field)


def _text(value: Value, field: Field) -> Scalar:
    """Return a text; the name of an asset becomes what is stored of it, the hash."""
    if field.origin is Origin.BUILTIN and field.name == "asset":
        return value.text.removeprefix(_ASSET_PREFIX)
    return value.text


def _int(value: Value, field: Field) -> Scalar:
    if value.quoted or not _INT.fullmatch(value.text):
        raise _mismatch(value, field, "a whole number without quotes")
    return _within_64_bits(int(value.text), value)


def _double(value: Value, field: Field) -> Scalar:
    if value.quoted or not _NUMBER.fullmatch(value.text):
        raise _mismatch(value, field, "a number without quotes")
    return _finite(value)


def _bool(value: Value, field: Field) -> Scalar:
    if value.quoted or value.text not in _BOOLS:
        raise _mismatch(value, field, "true or false without quotes")
    return _BOOLS[value.text]


def _timestamp(value: Value, field: Field) -> Scalar:
    try:
        return format_timestamp(parse_timestamp(value.text))
    except (ValueError, OverflowError):
        raise _mismatch(value, field, "an instant such as 2026-01-31T12:00:00Z") from None


def _json(value: Value, _: Field) -> Scalar:
    if value.quoted:
        return value.text
    if value.text in _BOOLS:
        return _BOOLS[value.text]
    if _INT.fullmatch(value.text):
        return _within_64_bits(int(value.text), value)
    if _NUMBER.fullmatch(value.text):
        return _finite(value)
    if value.text == "null":
        raise invalid("nothing equals null; `NOT name:*` finds what is missing", value.offset)
    return value.text


def _finite(value: Value) -> float:
    number = float(value.text)
    if not math.isfinite(number):
        raise invalid("is larger than any double", value.offset)
    return number


def _within_64_bits(number: int, value: Value) -> int:
    if abs(number) > LARGEST_INT:
        raise invalid("does not fit into 64 bits", value.offset)
    return number


def _mismatch(value: Value, field: Field, wanted: str) -> Exception:
    return invalid(f"{field} is a {field.type}: expected {wanted}", value.offset)


_CONVERSIONS: Final[Mapping[AttributeType, Callable[[Value, Field], Scalar]]] = {
    AttributeType.STRING: _text,
    AttributeType.INT: _int,
    AttributeType.DOUBLE: _double,
    AttributeType.BOOL: _bool,
    AttributeType.TIMESTAMP: _timestamp,
    AttributeType.STRING_LIST: _text,
    AttributeType.JSON: _json,
}
