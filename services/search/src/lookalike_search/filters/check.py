"""Checks a filter against a collection's schema and makes it a typed tree without NOT.

What each type of field can be asked:

| type | comparisons |
|---|---|
| string and built-in text | `= != < <= > >=`, `="abc*"`, `:"part"`, `:*` |
| int, double, timestamp | `= != < <= > >=`, `:*` |
| bool | `= !=`, `:*` |
| string_list | `:"member"`, `:*` |
| json, undeclared | those of string, number or bool; `:member`, `:*`; keys below it |

`values.py` says how a value is written for each type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lookalike_search.filters.ast import (
    And,
    Comparator,
    Expression,
    Not,
    Or,
    Restriction,
    Value,
    ValueGroup,
)
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
    TextMatch,
)
from lookalike_search.filters.scanner import invalid
from lookalike_search.filters.values import convert
from lookalike_search.model import AttributeType

BUILTIN: Final[Mapping[str, AttributeType]] = {
    "item": AttributeType.STRING,
    "asset": AttributeType.STRING,
    "text": AttributeType.STRING,
    "source_uri": AttributeType.STRING,
    "create_time": AttributeType.TIMESTAMP,
    "update_time": AttributeType.TIMESTAMP,
}
"""Fields that every entity has."""

_UNDECLARED_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_TEXTS: Final = frozenset({AttributeType.STRING, AttributeType.JSON})
_OPERATORS: Final = {
    Comparator.EQUALS: Operator.EQUAL,
    Comparator.NOT_EQUALS: Operator.NOT_EQUAL,
    Comparator.LESS: Operator.LESS,
    Comparator.LESS_OR_EQUAL: Operator.LESS_OR_EQUAL,
    Comparator.GREATER: Operator.GREATER,
    Comparator.GREATER_OR_EQUAL: Operator.GREATER_OR_EQUAL,
}


def check(expression: Expression, schema: Mapping[str, AttributeType]) -> CheckedExpression:
    """Return the typed tree; raises `InvalidFilterError` with the offset of what does not fit.

    `schema` holds the declared attributes; other names are allowed and taken for JSON.
    """
    return _check(expression, schema, negated=False)


def _check(
    expression: Expression, schema: Mapping[str, AttributeType], *, negated: bool
) -> CheckedExpression:
    match expression:
        case Not(operand):
            return _check(operand, schema, negated=not negated)
        case And(operands):
            parts = tuple(_check(each, schema, negated=negated) for each in operands)
            return AnyOf(parts) if negated else AllOf(parts)
        case Or(operands):
            parts = tuple(_check(each, schema, negated=negated) for each in operands)
            return AllOf(parts) if negated else AnyOf(parts)
        case Restriction():
            return _check_restriction(expression, schema, negated=negated)


def _check_restriction(
    restriction: Restriction, schema: Mapping[str, AttributeType], *, negated: bool
) -> CheckedExpression:
    field = _resolve(restriction, schema)
    comparator = restriction.comparator
    negated ^= comparator is Comparator.NOT_EQUALS
    match restriction.argument:
        case Value() as value if comparator is Comparator.HAS:
            return _check_has(field, value, negated=negated)
        case Value() as value if comparator in {Comparator.EQUALS, Comparator.NOT_EQUALS}:
            return _check_equal(field, value, negated=negated)
        case Value() as value:
            return _check_order(field, _OPERATORS[comparator], value, negated=negated)
        case ValueGroup() as group:
            return _check_group(field, comparator, group, negated=negated)


def _resolve(restriction: Restriction, schema: Mapping[str, AttributeType]) -> Field:
    """Return what a restriction's name stands for."""
    name, *keys = restriction.path
    if name in BUILTIN:
        field = Field(name, tuple(keys), BUILTIN[name], Origin.BUILTIN)
    elif name in schema:
        field = Field(name, tuple(keys), schema[name], Origin.DECLARED)
    elif _UNDECLARED_NAME.fullmatch(name):
        field = Field(name, tuple(keys), AttributeType.JSON, Origin.UNDECLARED)
    else:
        raise invalid(
            "an attribute's name is a letter, then letters, digits or _, 63 at most",
            restriction.offset,
        )
    if keys and field.type is not AttributeType.JSON:
        raise invalid(f"{name} is a {field.type}; it has no keys below it", restriction.offset)
    return field


def _check_equal(field: Field, value: Value, *, negated: bool) -> CheckedExpression:
    if field.type is AttributeType.STRING_LIST:
        raise invalid(f"{field} is a list; ask for a member with `:`", value.offset)
    if value.anything:
        raise invalid("a lone star asks for presence: write `:*`", value.offset)
    if value.open_start or value.open_end:
        return _check_pattern(field, value, negated=negated)
    converted = convert(value, field)
    if isinstance(converted, bool):
        return Compare(field, Operator.EQUAL, converted is not negated)
    return Compare(field, Operator.NOT_EQUAL if negated else Operator.EQUAL, converted)


def _check_pattern(field: Field, value: Value, *, negated: bool) -> CheckedExpression:
    """Check a value with a star at an end."""
    if field.type not in _TEXTS:
        raise invalid(f"{field} is a {field.type}; a star stands only in texts", value.offset)
    if value.open_start and value.open_end:
        place = Place.ANYWHERE
    else:
        place = Place.END if value.open_start else Place.START
    return _text_match(field, place, value, negated=negated)


def _check_order(
    field: Field, operator: Operator, value: Value, *, negated: bool
) -> CheckedExpression:
    if field.type in {AttributeType.STRING_LIST, AttributeType.BOOL}:
        raise invalid(f"{field} is a {field.type}, which has no order", value.offset)
    if value.open_start or value.open_end:
        raise invalid("a star stands only with =, != and :", value.offset)
    converted = convert(value, field)
    if isinstance(converted, bool):
        raise invalid("true and false have no order", value.offset)
    return Compare(field, operator.opposite if negated else operator, converted)


def _check_has(field: Field, value: Value, *, negated: bool) -> CheckedExpression:
    if value.anything:
        return Present(field, negated)
    if value.open_start or value.open_end:
        raise invalid('a star with `:` stands alone; `=` takes "abc*"', value.offset)
    match field.type:
        case AttributeType.STRING_LIST:
            return HasMember(field, value.text, negated)
        case AttributeType.JSON:
            return HasMember(field, convert(value, field), negated)
        case AttributeType.STRING:
            return _text_match(field, Place.ANYWHERE, value, negated=negated)
        case _:
            raise invalid(f"{field} is a {field.type}; compare it with =", value.offset)


def _check_group(
    field: Field, comparator: Comparator, group: ValueGroup, *, negated: bool
) -> CheckedExpression:
    """Check several values in parentheses; they stand for one comparison each."""
    if comparator not in {Comparator.EQUALS, Comparator.NOT_EQUALS, Comparator.HAS}:
        raise invalid("several values go only with =, != and :", group.offset)
    if group.all_of and comparator is not Comparator.HAS:
        raise invalid("a value cannot equal several; join them by OR", group.offset)
    check_value = _check_has if comparator is Comparator.HAS else _check_equal
    leaves = tuple(check_value(field, each, negated=negated) for each in group.values)
    if len(leaves) == 1:
        return leaves[0]
    values = tuple(leaf.value for leaf in leaves if isinstance(leaf, Compare))
    if len(values) == len(leaves) and not any(isinstance(each, bool) for each in values):
        if len({isinstance(each, str) for each in values}) > 1:
            raise invalid("the values of a group are all texts or all numbers", group.offset)
        return OneOf(field, values, negated)
    return AllOf(leaves) if group.all_of is not negated else AnyOf(leaves)


def _text_match(field: Field, place: Place, value: Value, *, negated: bool) -> TextMatch:
    whole = Value(value.text, quoted=True, offset=value.offset)
    text = str(convert(whole, field))
    if not text:
        raise invalid("every text has the empty text in it; `:*` asks for presence", value.offset)
    return TextMatch(field, place, text, negated)
