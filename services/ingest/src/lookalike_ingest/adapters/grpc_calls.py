"""Turns the ways a call to another service can end into the suite's errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from lookalike_common.status import error_from_rpc


@contextmanager
def errors_translated() -> Iterator[None]:
    """Raise the error of `lookalike_common.errors` that a failed call tells of."""
    try:
        yield
    except grpc.RpcError as error:
        raise error_from_rpc(error) from error
