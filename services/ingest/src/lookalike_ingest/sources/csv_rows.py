"""CSV as RFC 4180 has it: where its rows begin and end, and what is in one.

Rows are found before they are parsed, so that a row's bytes can be read again later by themselves,
and a broken row spoils none behind it: after a quotation mark that nothing closes, reading goes on
with the next line.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.sources.lines import Line, Record, RecordLimits, join, spoiled

_DELIMITERS = ",\t;|"
_QUOTE = b'"'


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The first row of a table."""

    columns: Sequence[str]
    """Empty names stand for columns that nobody can name."""
    delimiter: str


class CsvRows:
    """Cuts lines into rows; the first one is the header, the others are iterated over."""

    def __init__(self, lines: Iterator[Line], limits: RecordLimits) -> None:
        self._lines = lines
        self._waiting: deque[Line] = deque()
        self._limits = limits
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Record]:
        """Yield the rows below the header; blank lines are none."""
        while (line := self._next()) is not None:
            if not line.blank:
                yield self._read_row(line, self.header.delimiter)

    def _read_header(self) -> CsvHeader:
        while (line := self._next()) is not None and line.blank:
            pass
        if line is None:
            raise InvalidContentError("the table is empty: it has no header")
        delimiter = _find_delimiter(line.data)
        record = self._read_row(line, delimiter)
        if record.problem is not None:
            raise record.problem
        columns = parse_row(record.data, delimiter, self._limits.columns)
        _check_columns(columns)
        return CsvHeader(columns, delimiter)

    def _read_row(self, first: Line, delimiter: str) -> Record:
        """Take as many lines as the quotation marks say."""
        taken, length, state = [first], first.length, _Quoting(delimiter.encode())
        while True:
            if length > self._limits.bytes:
                return self._give_up(taken, join(taken, self._limits.bytes))
            if not state.read(taken[-1].data):
                error = InvalidContentError("a quoted value goes on behind its quotation mark")
                return self._give_up(taken, spoiled(taken[:1], error))
            if not state.quoted:
                return join(taken, self._limits.bytes)
            line = self._next()
            if line is None:
                error = InvalidContentError("a quotation mark is not closed")
                return self._give_up(taken, spoiled(taken[:1], error))
            taken.append(line)
            length += line.length

    def _give_up(self, taken: list[Line], record: Record) -> Record:
        """Go on with the line after the first."""
        self._waiting.extendleft(reversed(taken[1:]))
        first = taken[0]
        return Record(first.number, first.offset, first.length, b"", record.problem)

    def _next(self) -> Line | None:
        return self._waiting.popleft() if self._waiting else next(self._lines, None)


class _Quoting:
    """Whether a row stands within quotation marks, line after line."""

    def __init__(self, delimiter: bytes) -> None:
        self._opening = delimiter + _QUOTE
        self._behind = (delimiter, b"\r", b"\n", b"")
        self.quoted = False

    def read(self, line: bytes) -> bool:
        """Read one line. Return False where something stands behind a closing mark."""
        position = 0
        if not self.quoted and line.startswith(_QUOTE):
            self.quoted, position = True, 1
        while True:
            if not self.quoted:
                found = line.find(self._opening, position)
                if found < 0:
                    return True
                self.quoted, position = True, found + 2
            found = line.find(_QUOTE, position)
            if found < 0:
                return True
            behind = line[found + 1 : found + 2]
            if behind == _QUOTE:
                position = found + 2
            elif behind in self._behind:
                self.quoted, position = False, found + 1
            else:
                return False


def parse_row(data: bytes, delimiter: str, max_columns: int) -> Sequence[str]:
    """Return a row's values. Raises InvalidContentError or LimitExceededError."""
    if data.count(delimiter.encode()) >= max_columns and _QUOTE not in data:
        raise _too_wide(data.count(delimiter.encode()) + 1, max_columns)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidContentError("the row is not valid UTF-8") from error
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        rows = list(csv.reader(_keep_breaks(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidContentError(f"the row is broken: {error}") from error
    if len(rows) != 1:
        raise InvalidContentError("the row is broken: it is none, or several")
    if len(rows[0]) > max_columns:
        raise _too_wide(len(rows[0]), max_columns)
    return rows[0]


def _keep_breaks(text: str) -> Sequence[str]:
    """Cut behind line feeds alone, as rows were found."""
    return [f"{line}\n" for line in text.removesuffix("\n").removesuffix("\r").split("\n")]


def _too_wide(columns: int, limit: int) -> LimitExceededError:
    return LimitExceededError(f"the row has {columns} columns; at most {limit} are allowed")


def _find_delimiter(header: bytes) -> str:
    """Return what stands most often in the header; the first of equals."""
    return max(_DELIMITERS, key=lambda each: header.count(each.encode()))


def _check_columns(columns: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in columns:
        if name and name in seen:
            raise InvalidContentError(f"the header names the column {name!r} twice")
        seen.add(name)
