"""The tree of a filter that fits a schema: typed leaves, and no negation but in the leaves.

What a filter means where a value is missing or of another type, in one rule: **a leaf about a
missing value is false, and so is its opposite**. `color = "red"` and `NOT color = "red"` both leave
out an entity without a color. It is the one rule that all backends can be held to (a missing JSON
key is false in one, null in the other and true in the third once it is negated), and it is what
people expect from `price != 20`. Two things follow:

- NOT is pushed down to the leaves before anything is evaluated (De Morgan), and a guard for
  presence stands at each leaf. `:*` is the leaf that asks for presence, so `NOT color:*` finds the
  entities without a color.
- A value under an undeclared name that is of another type than the one asked for counts as missing
  for that leaf: `x != 5` leaves out an entity whose `x` is a text. Only `:` is different: what is
  no list has no members, so `NOT x:"a"` finds it.

A built-in text that is empty counts as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TypeAlias

from lookalike_search.model import AttributeType

Scalar: TypeAlias = bool | int | float | str
"""A value to compare with; an instant is its stored text."""


class Origin(Enum):
    """Where a field of a filter is kept."""

    BUILTIN = auto()
    """A field that every entity has, such as `item`."""
    DECLARED = auto()
    """An attribute of the schema."""
    UNDECLARED = auto()
    """An attribute that the schema does not know; plain JSON."""


class Operator(StrEnum):
    """Comparisons of two values of one type."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="

    @property
    def opposite(self) -> Operator:
        """The operator that is true of two values of one type where this one is false."""
        return _OPPOSITES[self]


_OPPOSITES = {
    Operator.EQUAL: Operator.NOT_EQUAL,
    Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.LESS: Operator.GREATER_OR_EQUAL,
    Operator.GREATER_OR_EQUAL: Operator.LESS,
    Operator.GREATER: Operator.LESS_OR_EQUAL,
    Operator.LESS_OR_EQUAL: Operator.GREATER,
}


class Place(StrEnum):
    """Where in a text another text is looked for."""

    START = "prefix"
    END = "suffix"
    ANYWHERE = "substring"


@dataclass(frozen=True, slots=True)
class Field:
    """What a leaf is about."""

    name: str
    keys: tuple[str, ...]
    """Keys below it, where it is an object."""
    type: AttributeType
    origin: Origin

    def __str__(self) -> str:
        return ".".join((self.name, *self.keys))


@dataclass(frozen=True, slots=True)
class Compare:
    """The value stands in this relation to another; for bool only EQUAL."""

    field: Field
    operator: Operator
    value: Scalar


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of several of one type, two or more; or, negated, none of them."""

    field: Field
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class TextMatch:
    """The text has, or has not, another one at a place; the other one is not empty."""

    field: Field
    place: Place
    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasMember:
    """The list has, or has not, this member."""

    field: Field
    value: Scalar
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """There is a value, or there is none."""

    field: Field
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of the operands; none for the empty filter, which every entity matches."""

    operands: tuple[CheckedExpression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the operands."""

    operands: tuple[CheckedExpression, ...]


Leaf: TypeAlias = Compare | OneOf | TextMatch | HasMember | Present
CheckedExpression: TypeAlias = AllOf | AnyOf | Leaf
