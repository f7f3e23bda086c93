"""The tree of a filter as it was written, before anything is known about attributes.

Every node that can be wrong knows its offset in the text (characters, from 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Comparator(StrEnum):
    """How a field and a value are compared, as it is spelt."""

    EQUALS = "="
    NOT_EQUALS = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Value:
    """One value: `20`, `"red"`, `"abc*"`."""

    text: str
    """Without quotes, escapes and the stars at its ends."""
    quoted: bool
    offset: int
    open_start: bool = False
    """Anything may come before: `"*abc"`."""
    open_end: bool = False
    """Anything may follow: `"abc*"`."""

    @property
    def anything(self) -> bool:
        """Whether it is a lone star, which asks for presence."""
        return not self.text and (self.open_start or self.open_end)


@dataclass(frozen=True, slots=True)
class ValueGroup:
    """Several values in parentheses: `("red" OR "blue")`."""

    values: tuple[Value, ...]
    all_of: bool
    """Joined by AND rather than OR."""
    offset: int


@dataclass(frozen=True, slots=True)
class Restriction:
    """One comparison: `price < 20`, `camera.maker = "x"`."""

    path: tuple[str, ...]
    """A name, and the keys below it."""
    comparator: Comparator
    argument: Value | ValueGroup
    offset: int


@dataclass(frozen=True, slots=True)
class And:
    """All of the operands; none for the empty filter, which every entity matches."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the operands."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of the operand; see `check` for what that means where a value is missing."""

    operand: Expression


Expression: TypeAlias = And | Or | Not | Restriction
