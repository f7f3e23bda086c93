"""Evaluates a checked filter in Python: what a filter means, to compare backends with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from lookalike_search.attributes import format_timestamp
from lookalike_search.filters.checked import (
    AllOf,
    AnyOf,
    CheckedExpression,
    Compare,
    Field,
    HasMember,
    OneOf,
    Operator,
    Origin,
    Place,
    Present,
    Scalar,
    TextMatch,
)
from lookalike_search.model import JsonValue

_TESTS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {  # of values of one type
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}


def evaluate(checked: CheckedExpression, values: Mapping[str, JsonValue | datetime]) -> bool:
    """Tell whether an entity matches.

    `values` holds its attributes and built-in fields by name, as they are stored; what is missing,
    null, or an empty built-in text is missing.
    """
    match checked:
        case AllOf(operands):
            return all(evaluate(each, values) for each in operands)
        case AnyOf(operands):
            return any(evaluate(each, values) for each in operands)
        case Present(field, negated):
            return (_value_of(field, values) is not None) is not negated
        case _:
            value = _value_of(checked.field, values)
            return value is not None and _leaf(checked, value)


def _leaf(leaf: Compare | OneOf | TextMatch | HasMember, value: JsonValue) -> bool:
    match leaf:
        case Compare(_, operator_, wanted):
            return _same_type(value, wanted) and _TESTS[operator_](value, wanted)
        case OneOf(_, wanted, negated):
            return _same_type(value, wanted[0]) and (value in wanted) is not negated
        case TextMatch(_, place, text, negated):
            return isinstance(value, str) and _found(value, place, text) is not negated
        case HasMember(_, wanted, negated):
            members = value if isinstance(value, list) else []
            found = any(_same_type(each, wanted) and each == wanted for each in members)
            return found is not negated


def _value_of(field: Field, values: Mapping[str, JsonValue | datetime]) -> JsonValue:
    """Return the value of a field; None if it is missing."""
    value = values.get(field.name)
    if isinstance(value, datetime):
        return format_timestamp(value)
    if field.origin is Origin.BUILTIN:
        return value or None
    for key in field.keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _same_type(value: JsonValue, wanted: Scalar) -> bool:
    """Tell whether two values can be compared: both texts, both bools or both numbers."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return isinstance(wanted, bool) and isinstance(value, bool)
    if isinstance(wanted, str):
        return isinstance(value, str)
    return isinstance(value, int | float)


def _found(value: str, place: Place, text: str) -> bool:
    match place:
        case Place.START:
            return value.startswith(text)
        case Place.END:
            return value.endswith(text)
        case Place.ANYWHERE:
            return text in value
