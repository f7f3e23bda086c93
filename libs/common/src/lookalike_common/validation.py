"""Checks requests against the `buf.validate` rules in the protos, in the words of our errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import Message
from protovalidate import Validator, Violation

from lookalike_common.errors import FieldViolation, InternalError, InvalidArgumentError

_FIRST: Final = 8
"""Violations after these are counted only."""


class RequestValidator:
    """One protovalidate engine with its compiled rules; may be used from several threads."""

    def __init__(self) -> None:
        self._validator = Validator()

    def warm_up(self, types: Iterable[type[Message]]) -> None:
        """Compile the rules of message types, which takes milliseconds at first use."""
        for each in types:
            self._validator.collect_violations(each())

    def check(self, message: Message) -> None:
        """Raise `InvalidArgumentError` with all violations when a message breaks its rules."""
        try:
            found = self._validator.collect_violations(message)
        except Exception as error:
            name = message.DESCRIPTOR.full_name
            raise InternalError(f"the rules of {name} cannot be evaluated: {error}") from error
        if found:
            violations = [_field_violation(each) for each in found]
            # What names a field says more than a rule about the whole message.
            raise _as_error(sorted(violations, key=lambda each: not each.field))


def _as_error(violations: list[FieldViolation]) -> InvalidArgumentError:
    first = violations[0]
    more = len(violations) - 1
    suffix = f" (and {more} more)" if more else ""
    return InvalidArgumentError(
        first.description + suffix, field=first.field, violations=violations[:_FIRST]
    )


def _field_violation(violation: Violation) -> FieldViolation:
    proto = violation.proto
    return FieldViolation(field_path(violation), proto.message or f"breaks {proto.rule_id}")


def field_path(violation: Violation) -> str:
    """Return the path of a violation such as `queries[0].content`.

    A required oneof is named by the oneof; a rule about a whole message at the top has no field,
    and its path is empty.
    """
    field = violation.proto.field
    if field is None:
        return ""
    return ".".join(
        element.field_name + _subscript(element.subscript) for element in field.elements
    )


def _subscript(subscript: object) -> str:
    value = getattr(subscript, "value", None)
    if value is None:
        return ""
    return f'["{value}"]' if isinstance(value, str) else f"[{str(value).lower()}]"
