"""Turns the ways a call to another service can end into the suite's errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.rpc import status_pb2

from lookalike_common.errors import FieldViolation, LookalikeError
from lookalike_common.status import error_from_rpc, error_from_status

_PLACE_IN_REQUEST = re.compile(r"^(items|entities)\[\d+\](\.content\b)?\.?")


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise the error of `lookalike_common.errors` that a failed call tells of."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_from_rpc(error) from error


def error_of_one(status: status_pb2.Status) -> LookalikeError:
    """Return why one of several things was refused, without its place in a request of ours.

    A path that is left, such as `attributes.year`, is about the thing itself.
    """
    error = error_from_status(status)
    error.field = _PLACE_IN_REQUEST.sub("", error.field)
    error.violations = tuple(
        FieldViolation(_PLACE_IN_REQUEST.sub("", each.field), each.description)
        for each in error.violations
    )
    return error
