r"""Renders a checked filter as a Milvus boolean expression that every version reads alike.

Rules, each paid for by a difference between backends:

- Text is quoted by `quote` alone: double quotes; `\`, `"`, newline, tab and carriage return are
  escaped. Numbers are written by us, names of columns come from `Columns`; nothing else of a
  caller's text is ever in an expression.
- Leaves about something that may be missing carry a guard for presence, in parentheses of its own:
  2.3.5 takes all that follows for the operand of `exists`. There is no `not` before anything that
  could be null.
- Within JSON there is no `in` (an `or` of `==` instead) and no `!=` (`<` or `>` instead, which is
  false for a value of another type everywhere).
- Of patterns only `like "abc%"` is used, and a range where the text itself has a `%`, `_` or `\`.
  A suffix or substring is refused by name.
- A bool is compared with `== true` or `== false`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lookalike_common.errors import UnsupportedByBackendError
from lookalike_search.filters.checked import (
    AllOf,
    AnyOf,
    CheckedExpression,
    Compare,
    Field,
    HasMember,
    Leaf,
    OneOf,
    Operator,
    Origin,
    Place,
    Present,
    Scalar,
    TextMatch,
)
from lookalike_search.model import AttributeSpec, AttributeType

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r"})
_PLAIN_PREFIX: Final = re.compile(r"[^%_\\\x00-\x1f\x7f]+")
_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Column:
    """Where the values of one field are, and how to tell that one is missing."""

    expression: str
    """What Milvus calls it: `f_price`, `attrs["price"]`."""
    presence: str
    """True where there is a value."""
    absence: str
    """True where there is none."""
    guarded: bool
    """A value may be missing."""
    json: bool
    """It is read out of a JSON document."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where all fields of one collection are."""

    builtin: Mapping[str, Column]
    """Of the fields that every entity has, by name."""
    typed: Mapping[str, Column] = field(default_factory=dict)
    """Of the attributes that have a column of their own, by name."""
    required: frozenset[str] = frozenset()
    """Attributes that no entity lacks."""
    document: str = "attrs"
    """The JSON column of all attributes."""

    def of(self, wanted: Field) -> Column:
        """Return the column of a field."""
        if wanted.origin is Origin.BUILTIN:
            return self.builtin[wanted.name]
        typed = self.typed.get(wanted.name)
        if typed is not None:
            return typed
        path = json_path(self.document, wanted.name, *wanted.keys)
        return json_column(path, guarded=bool(wanted.keys) or wanted.name not in self.required)


def entity_columns(
    attributes: Iterable[AttributeSpec] = (), *, system: str = "sys", document: str = "attrs"
) -> Columns:
    """Return the columns of our own data model for a collection with these attributes.

    Declared filterable scalars and full texts have a never-null column `f_<name>`; whether an
    entity has a value is told by the key in `document`. `item` and `text` have columns, the other
    built-in fields are keys of `system`.
    """
    specs = list(attributes)
    times = {name: json_path(system, name) for name in ("create_time", "update_time")}
    texts = {name: json_path(system, name) for name in ("asset", "source_uri")}
    return Columns(
        builtin={name: _text_column(name) for name in ("item", "text")}
        | {name: json_column(path, guarded=True) for name, path in times.items()}
        | {name: _json_text_column(path) for name, path in texts.items()},
        typed={
            each.name: _typed_column(each, document)
            for each in specs
            if each.has_column and each.type not in _NEVER_TYPED
        },
        required=frozenset(each.name for each in specs if not each.nullable),
        document=document,
    )


def column_name(attribute: str) -> str:
    """Return the name of a declared attribute's own column."""
    return f"f_{attribute}"


_NEVER_TYPED: Final = frozenset({AttributeType.STRING_LIST, AttributeType.JSON})


def _typed_column(spec: AttributeSpec, document: str) -> Column:
    known = json_column(json_path(document, spec.name), guarded=spec.nullable)
    return Column(
        column_name(spec.name), known.presence, known.absence, guarded=spec.nullable, json=False
    )


def json_column(path: str, *, guarded: bool) -> Column:
    """Return the column of a value in a JSON document."""
    return Column(path, f"(exists {path})", f"(not exists {path})", guarded=guarded, json=True)


def _text_column(name: str) -> Column:
    """Return the column of a text that is empty where there is none."""
    return Column(name, f'{name} != ""', f'{name} == ""', guarded=True, json=False)


def _json_text_column(path: str) -> Column:
    """Return the column of a text in a JSON document that may be empty or missing."""
    return Column(
        path,
        f'((exists {path}) and {path} > "")',
        f'((not exists {path}) or {path} == "")',
        guarded=True,
        json=True,
    )


def json_path(document: str, *keys: str) -> str:
    """Return what Milvus calls a value in a JSON document."""
    return document + "".join(f"[{quote(each)}]" for each in keys)


def quote(text: str) -> str:
    """Return a text as a literal of Milvus's expression language."""
    return f'"{text.translate(_ESCAPES)}"'


def literal(value: Scalar) -> str:
    """Return a value as a literal of Milvus's expression language."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case _:
            return repr(value)


def render(checked: CheckedExpression, columns: Columns) -> str:
    """Return the expression; empty for the empty filter.

    Raises `UnsupportedByBackendError` for a suffix or substring, naming it.
    """
    match checked:
        case AllOf(operands):
            return _join(" and ", operands, columns)
        case AnyOf(operands):
            return _join(" or ", operands, columns)
        case _:
            return _leaf(checked, columns.of(checked.field))


def _join(word: str, operands: tuple[CheckedExpression, ...], columns: Columns) -> str:
    parts = word.join(render(each, columns) for each in operands)
    return f"({parts})" if len(operands) > 1 else parts


def _leaf(leaf: Leaf, column: Column) -> str:
    if isinstance(leaf, Present):
        return column.absence if leaf.negated else column.presence
    condition = _condition(leaf, column)
    return f"({column.presence} and {condition})" if column.guarded else condition


def _condition(leaf: Compare | OneOf | TextMatch | HasMember, column: Column) -> str:
    match leaf:
        case Compare(_, operator, value):
            return _comparison(column, operator, value)
        case OneOf(_, values, negated):
            return _one_of(column, values, negated=negated)
        case TextMatch(_, Place.START, text, negated):
            return _prefix(column, text, negated=negated)
        case TextMatch(_, place, text, _):
            raise UnsupportedByBackendError(
                f"the filter asks for a {place} ({text[:40]!r} in {leaf.field}), which Milvus "
                'cannot find; it finds prefixes: ="abc*"',
                field="filter",
            )
        case HasMember(_, value, negated):
            word = "not " if negated else ""
            return f"{word}json_contains_any({column.expression}, [{literal(value)}])"


def _comparison(column: Column, operator: Operator, value: Scalar) -> str:
    name, wanted = column.expression, literal(value)
    if operator is Operator.NOT_EQUAL and column.json:
        return f"({name} < {wanted} or {name} > {wanted})"
    return f"{name} {operator} {wanted}"


def _one_of(column: Column, values: tuple[Scalar, ...], *, negated: bool) -> str:
    if column.json:
        operator, word = (Operator.NOT_EQUAL, " and ") if negated else (Operator.EQUAL, " or ")
        return f"({word.join(_comparison(column, operator, each) for each in values)})"
    listed = ", ".join(literal(each) for each in values)
    return f"{column.expression} {'not in' if negated else 'in'} [{listed}]"


def _prefix(column: Column, text: str, *, negated: bool) -> str:
    """Return a test for a prefix: by pattern where that is exact, else by the order of texts."""
    name, after = column.expression, _first_after(text)
    if negated:
        return f"({name} < {quote(text)}" + (f" or {name} >= {quote(after)})" if after else ")")
    if _PLAIN_PREFIX.fullmatch(text):
        return f"{name} like {quote(text + '%')}"
    return f"({name} >= {quote(text)}" + (f" and {name} < {quote(after)})" if after else ")")


def _first_after(prefix: str) -> str:
    """Return the first text after all those with a prefix; empty if there is none.

    Texts are ordered by code point, which is the order of their UTF-8 bytes.
    """
    rest = prefix.rstrip(_LAST_CHARACTER)
    if not rest:
        return ""
    following = ord(rest[-1]) + 1
    if 0xD800 <= following <= 0xDFFF:  # surrogates are no characters
        following = 0xE000
    return rest[:-1] + chr(following)
