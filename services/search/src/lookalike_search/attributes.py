"""Brings attributes into the form in which they are stored, or says what is wrong with them.

A declared attribute gets its declared type; an undeclared one keeps its JSON. Nulls are the same
as missing and are left out, so that a filter's `exists` is the whole truth.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from lookalike_common.errors import InvalidArgumentError, LimitExceededError
from lookalike_search.model import (
    RESERVED_ATTRIBUTES,
    AttributeSpec,
    AttributeType,
    CollectionSpec,
    JsonValue,
)

MAX_ATTRIBUTES_BYTES: Final = 65_535
"""Of all attributes of one entity as canonical JSON."""

_CANONICAL: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)
_MAX_DEPTH: Final = 16
_EXACT_DOUBLE: Final = 2**53
_INT64: Final = range(-(2**63), 2**63)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}")


def check_attribute_name(name: str, field: str) -> None:
    """Raise `InvalidArgumentError` at `field` unless an attribute may have this name."""
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            "an attribute's name is a letter, then letters, digits or _, 63 at most", field=field
        )
    if name in RESERVED_ATTRIBUTES:
        raise InvalidArgumentError(
            f"{name} is a field of every entity; no attribute can have that name", field=field
        )


def coerce_attributes(
    attributes: Mapping[str, JsonValue], spec: CollectionSpec
) -> dict[str, JsonValue]:
    """Return the attributes as stored; errors are at `attributes.<name>`."""
    stored: dict[str, JsonValue] = {}
    for name, value in sorted(attributes.items()):
        field = f"attributes.{name[:80]}"
        check_attribute_name(name, field)
        if value is None:
            continue
        declared = spec.attribute(name)
        stored[name] = coerce_value(value, declared, field) if declared else _json(value, field)
    for each in spec.attributes:
        if not each.nullable and each.name not in stored:
            raise InvalidArgumentError(
                f"{each.name} is not nullable and is missing", field=f"attributes.{each.name}"
            )
    size = len(canonical_json(stored))
    if size > MAX_ATTRIBUTES_BYTES:
        raise LimitExceededError(
            f"attributes take {size} bytes as JSON, {MAX_ATTRIBUTES_BYTES} are allowed",
            field="attributes",
        )
    return stored


def coerce_value(value: JsonValue, spec: AttributeSpec, field: str) -> JsonValue:
    """Return one value in its declared type, or raise `InvalidArgumentError` at `field`."""
    return _COERCIONS[spec.type](value, field)


def canonical_json(value: object) -> bytes:
    """Return the one UTF-8 JSON form of a value: sorted keys, no spaces."""
    return _CANONICAL.encode(value).encode()


def format_timestamp(moment: datetime) -> str:
    """Return the stored form of an instant: `2026-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """Parse RFC 3339 with a zone; raises `ValueError`. Beyond microseconds is cut off."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text.upper():
        raise ValueError("not RFC 3339 with a time zone")
    return moment.astimezone(UTC)


def _string(value: JsonValue, field: str) -> JsonValue:
    if not isinstance(value, str):
        raise _wrong(field, "a string", value)
    return value


def _int(value: JsonValue, field: str) -> JsonValue:
    if (isinstance(value, str) and _DECIMAL.fullmatch(value)) or (
        isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_DOUBLE
    ):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise _wrong(field, "an integer (beyond 2^53 as a decimal string)", value)
    if number not in _INT64:
        raise InvalidArgumentError("does not fit into 64 bits", field=field)
    return number


def _double(value: JsonValue, field: str) -> JsonValue:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(field, "a finite number", value)
    return float(value)


def _bool(value: JsonValue, field: str) -> JsonValue:
    if not isinstance(value, bool):
        raise _wrong(field, "true or false", value)
    return value


def _timestamp(value: JsonValue, field: str) -> JsonValue:
    if isinstance(value, str):
        try:
            return format_timestamp(parse_timestamp(value))
        except (ValueError, OverflowError):
            pass
    raise _wrong(field, "an RFC 3339 instant such as 2026-01-31T12:00:00Z", value)


def _string_list(value: JsonValue, field: str) -> JsonValue:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _wrong(field, "a list of strings", value)
    return value


def _json(value: JsonValue, field: str, depth: int = 0) -> JsonValue:
    """Drop nulls from objects, make whole numbers integers, refuse what JSON cannot say."""
    if depth > _MAX_DEPTH:
        raise LimitExceededError(f"is nested deeper than {_MAX_DEPTH} levels", field=field)
    match value:
        case bool() | str():
            return value
        case int() | float():
            return _number(value, field)
        case list():
            return [_json(each, field, depth + 1) for each in value]
        case dict():
            return {
                key: _json(each, field, depth + 1)
                for key, each in value.items()
                if each is not None
            }
        case _:
            raise InvalidArgumentError("a list cannot hold null", field=field)


def _number(value: float, field: str) -> JsonValue:
    if isinstance(value, int):
        if value not in _INT64:
            raise InvalidArgumentError("does not fit into 64 bits", field=field)
        return value
    if not math.isfinite(value):
        raise _wrong(field, "a finite number", value)
    return int(value) if value.is_integer() and abs(value) <= _EXACT_DOUBLE else value


def _wrong(field: str, wanted: str, value: JsonValue) -> InvalidArgumentError:
    shown = json.dumps(value, ensure_ascii=False)[:80]
    return InvalidArgumentError(f"must be {wanted}, not {shown}", field=field)


_COERCIONS: Final[Mapping[AttributeType, Callable[[JsonValue, str], JsonValue]]] = {
    AttributeType.STRING: _string,
    AttributeType.INT: _int,
    AttributeType.DOUBLE: _double,
    AttributeType.BOOL: _bool,
    AttributeType.TIMESTAMP: _timestamp,
    AttributeType.STRING_LIST: _string_list,
    AttributeType.JSON: _json,
}
