"""JSONL: one JSON object a line; a broken line is a problem of that line alone."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import NoReturn

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.job import Json
from lookalike_ingest.sources.lines import Line, Record, RecordLimits, join


def read_json_lines(lines: Iterator[Line], limits: RecordLimits) -> Iterator[Record]:
    """Yield the lines that are not blank."""
    for line in lines:
        if not line.blank:
            yield join([line], limits.bytes)


def parse_json_line(data: bytes, max_columns: int) -> Mapping[str, Json]:
    """Return the object of one line. Raises InvalidContentError or LimitExceededError."""
    try:
        value = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise InvalidContentError("the line is not valid UTF-8") from error
    except json.JSONDecodeError as error:
        raise InvalidContentError(f"the line is no JSON: {error.msg} (at {error.pos})") from error
    except RecursionError as error:
        raise InvalidContentError("the line's JSON is nested too deep") from error
    except ValueError as error:  # numbers with too many digits, and those of _refuse
        raise InvalidContentError(f"the line is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidContentError("the line is no JSON object")
    if len(value) > max_columns:
        raise LimitExceededError(
            f"the row has {len(value)} columns; at most {max_columns} are allowed"
        )
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is no finite number")
