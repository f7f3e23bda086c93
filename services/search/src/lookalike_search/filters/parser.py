r"""Parses the text of a filter; the language is that of AIP-160.

What was decided where AIP-160 leaves it open, or offers more than is needed:

- OR binds more tightly than AND, as AIP-160 has it: `a = 1 AND b = 2 OR c = 3` means
  `a = 1 AND (b = 2 OR c = 3)`. Terms side by side are joined by AND. Keywords are capitals.
- A comparison has a name on its left and a value on its right. A value alone, a function and a
  chain such as `1 < x < 5` are refused.
- A value may be a group: `color = ("red" OR "blue")`, `tags:("a" AND "b")`.
- A star at an end of a value stands for anything: `name = "abc*"`; `\*` in quotes is a star.
"""

from __future__ import annotations

from typing import Final

from lookalike_common.errors import InvalidFilterError, LimitExceededError
from lookalike_search.filters.ast import (
    And,
    Expression,
    Not,
    Or,
    Restriction,
    Value,
    ValueGroup,
)
from lookalike_search.filters.scanner import Scanner, invalid

MAX_BYTES: Final = 64 * 1024
"""Longest filter, in UTF-8."""
MAX_NESTING: Final = 32
"""Deepest parentheses."""
MAX_TERMS: Final = 200
"""Most comparisons, each value of a group counted."""


def parse(text: str) -> Expression:
    """Return the tree of a filter.

    Raises `InvalidFilterError` with the offset of what is wrong, or `LimitExceededError`.
    """
    _check_size(text)
    return _Parser(text).parse()


def _check_size(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise invalid("not valid Unicode text", error.start) from None
    if size > MAX_BYTES:
        raise LimitExceededError(
            f"the filter takes {size} bytes, {MAX_BYTES} are allowed", field="filter"
        )


class _Parser:
    """Recursive descent over the grammar of AIP-160, one method a rule."""

    def __init__(self, text: str) -> None:
        self._scanner = Scanner(text)
        self._depth = 0
        self._terms = 0

    def parse(self) -> Expression:
        if not self._scanner.skip_space():
            return And(())
        expression = self._expression()
        if self._scanner.skip_space():
            raise self._scanner.wrong(f"expected the end, found {self._scanner.next_part()}")
        return expression

    def _expression(self) -> Expression:
        operands = [self._sequence()]
        while self._scanner.take_keyword("AND"):
            operands.append(self._sequence())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _sequence(self) -> Expression:
        operands = [self._factor()]
        while self._another_factor():
            operands.append(self._factor())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _another_factor(self) -> bool:
        scanner = self._scanner
        if not scanner.skip_space() or scanner.looking_at(")") or scanner.keyword() == "AND":
            return False
        offset = scanner.offset
        if scanner.comparator() is not None:
            raise scanner.wrong("comparisons cannot be chained; join two with AND", offset)
        return True

    def _factor(self) -> Expression:
        operands = [self._term()]
        while self._scanner.take_keyword("OR"):
            operands.append(self._term())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _term(self) -> Expression:
        if self._scanner.take_keyword("NOT") or self._scanner.take("-"):
            return Not(self._simple())
        return self._simple()

    def _simple(self) -> Expression:
        scanner = self._scanner
        if not scanner.looking_at("("):
            return self._restriction()
        opening = scanner.offset
        scanner.take("(")
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise LimitExceededError(
                f"at offset {opening}: parentheses are nested deeper than {MAX_NESTING} levels",
                field="filter",
                metadata={"offset": str(opening)},
            )
        expression = self._expression()
        if not scanner.take(")"):
            raise scanner.wrong(f"expected `)` or an operator, found {scanner.next_part()}")
        self._depth -= 1
        return expression

    def _restriction(self) -> Restriction:
        scanner = self._scanner
        if scanner.keyword():
            raise scanner.wrong(f"expected a comparison, found {scanner.keyword()}")
        offset = scanner.offset
        path = scanner.path()
        if scanner.text.startswith("(", scanner.offset):
            raise scanner.wrong("functions are not part of this language", offset)
        comparator = scanner.comparator()
        if comparator is None:
            raise self._without_operator(path, offset)
        if self._scanner.looking_at("("):
            return Restriction(path, comparator, self._group(), offset)
        return Restriction(path, comparator, self._value(), offset)

    def _without_operator(self, path: tuple[str, ...], offset: int) -> InvalidFilterError:
        name = ".".join(path)
        if name.upper() in {"AND", "OR", "NOT"}:
            return self._scanner.wrong(f"keywords are capitals: write {name.upper()}", offset)
        found = self._scanner.next_part()
        return self._scanner.wrong(
            f"expected one of = != < <= > >= : after `{name}`, found {found}"
        )

    def _group(self) -> ValueGroup:
        """Read `("a" OR "b")` or `("a" AND "b")`."""
        scanner = self._scanner
        scanner.skip_space()
        offset = scanner.offset
        scanner.take("(")
        values = [self._value()]
        joiner = scanner.keyword()
        while joiner in {"AND", "OR"} and scanner.take_keyword(joiner):
            values.append(self._value())
        if not scanner.take(")"):
            raise scanner.wrong(
                "expected values joined by OR alone or AND alone and then `)`, "
                f"found {scanner.next_part()}"
            )
        return ValueGroup(tuple(values), all_of=joiner == "AND", offset=offset)

    def _value(self) -> Value:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise LimitExceededError(
                f"the filter has more than {MAX_TERMS} comparisons",
                field="filter",
                metadata={"offset": str(self._scanner.offset)},
            )
        return self._scanner.value()
