"""Reads the smallest parts of a filter's text: names, operators, values."""

from __future__ import annotations

import re
from typing import Final

from lookalike_common.errors import InvalidFilterError
from lookalike_search.filters.ast import Comparator, Value

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NAME: Final = re.compile(r"""[^\s().<>=!:"',*\\-][^\s().<>=!:"',*\\]*""")
_BARE_VALUE: Final = re.compile(r"""[^\s()<>=!"',\\]+""")
_COMPARATOR: Final = re.compile(r"<=|>=|!=|[<>=:]")
_KEYWORD: Final = re.compile(r"(AND|OR|NOT)(?=[\s()]|$)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_ESCAPABLE: Final = frozenset("\\\"'*")
_SHOWN: Final = 20


class Scanner:
    """A position in the text; every method reads from there on and moves it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0

    def skip_space(self) -> bool:
        """Move to the next character that is no space; tell whether one is left."""
        self.offset = _match_end(_SPACE, self.text, self.offset)
        return self.offset < len(self.text)

    def looking_at(self, symbol: str) -> bool:
        """Tell whether `symbol` comes next, after spaces."""
        self.skip_space()
        return self.text.startswith(symbol, self.offset)

    def take(self, symbol: str) -> bool:
        """Read `symbol` if it comes next."""
        found = self.looking_at(symbol)
        if found:
            self.offset += len(symbol)
        return found

    def keyword(self) -> str:
        """Return the keyword that comes next without reading it; empty if none does."""
        self.skip_space()
        found = _KEYWORD.match(self.text, self.offset)
        return found[1] if found else ""

    def take_keyword(self, word: str) -> bool:
        """Read the keyword `word` if it comes next."""
        found = self.keyword() == word
        if found:
            self.offset += len(word)
        return found

    def path(self) -> tuple[str, ...]:
        """Read a name and the keys below it: `camera.maker`, `camera."lens type"`."""
        names = [self._name()]
        while self.text.startswith(".", self.offset):
            self.offset += 1
            names.append(self._name())
        return tuple(names)

    def comparator(self) -> Comparator | None:
        """Read an operator if one comes next."""
        self.skip_space()
        found = _COMPARATOR.match(self.text, self.offset)
        if found is None:
            return None
        self.offset = found.end()
        return Comparator(found[0])

    def value(self) -> Value:
        """Read one value, quoted or bare."""
        self.skip_space()
        start = self.offset
        if self.text.startswith(('"', "'"), start):
            characters = self._quoted()
        else:
            characters = [(each, each == "*") for each in self._bare_value()]
        open_start = bool(characters) and characters[0][1]
        open_end = len(characters) > 1 and characters[-1][1]
        inner = characters[int(open_start) : len(characters) - int(open_end)]
        if any(star for _, star in inner):
            raise self.wrong(
                r"`*` may stand only at the ends of a value; write \* in quotes", start
            )
        return Value(
            text="".join(character for character, _ in inner),
            quoted=self.text[start] in "\"'",
            offset=start,
            open_start=open_start,
            open_end=open_end,
        )

    def next_part(self) -> str:
        """Return some of the text that comes next, for messages."""
        self.skip_space()
        rest = self.text[self.offset : self.offset + _SHOWN]
        return f"`{rest.split(maxsplit=1)[0]}`" if rest else "the end"

    def wrong(self, message: str, offset: int | None = None) -> InvalidFilterError:
        """Return the error for `offset`, by default where the scanner stands."""
        return invalid(message, self.offset if offset is None else offset)

    def _name(self) -> str:
        if self.text.startswith(('"', "'"), self.offset):
            start = self.offset
            name = "".join(character for character, _ in self._quoted())
            if not name:
                raise self.wrong("a name cannot be empty", start)
            return name
        found = _NAME.match(self.text, self.offset)
        if found is None:
            raise self.wrong(f"expected the name of a field or attribute, found {self.next_part()}")
        self.offset = found.end()
        return found[0]

    def _bare_value(self) -> str:
        found = _BARE_VALUE.match(self.text, self.offset)
        if found is None:
            raise self.wrong(f"expected a value, found {self.next_part()}")
        if self.keyword():
            raise self.wrong(f"expected a value, found {self.keyword()}; quote it to mean the word")
        self.offset = found.end()
        return found[0]

    def _quoted(self) -> list[tuple[str, bool]]:
        """Read a quoted text as characters, each with whether it is an unescaped star."""
        start, quote = self.offset, self.text[self.offset]
        characters: list[tuple[str, bool]] = []
        self.offset += 1
        while self.offset < len(self.text):
            character = self.text[self.offset]
            self.offset += 1
            if character == quote:
                return characters
            if character == "\\":
                characters.append((self._escaped(), False))
            else:
                characters.append((character, character == "*"))
        raise self.wrong("this quote is never closed", start)

    def _escaped(self) -> str:
        """Read what follows a backslash."""
        character = self.text[self.offset : self.offset + 1]
        self.offset += 1
        if character in _ESCAPES:
            return _ESCAPES[character]
        if character and character in _ESCAPABLE:
            return character
        raise self.wrong(
            "after a backslash only another one, a quote, a star, n, t or r may come",
            self.offset - 2,
        )


def invalid(message: str, offset: int) -> InvalidFilterError:
    """Return the error of a filter that is wrong at `offset`."""
    return InvalidFilterError(
        f"at offset {offset}: {message}", field="filter", metadata={"offset": str(offset)}
    )


def _match_end(pattern: re.Pattern[str], text: str, offset: int) -> int:
    found = pattern.match(text, offset)
    return found.end() if found else offset
