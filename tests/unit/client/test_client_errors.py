"""Statuses become exceptions."""

from datetime import timedelta

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from lookalike_client import (
    AccessError,
    ConflictError,
    DeadlineError,
    ExhaustedError,
    LookalikeError,
    PreconditionError,
    ServerError,
    UnavailableError,
)
from lookalike_client.cli.exits import ExitCode, explain


def status(code: grpc.StatusCode, *details: Message) -> status_pb2.Status:
    made = status_pb2.Status(code=code.value[0], message="it failed")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        made.details.append(packed)
    return made


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.ABORTED, ConflictError),
        (grpc.StatusCode.FAILED_PRECONDITION, PreconditionError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ExhaustedError),
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError),
        (grpc.StatusCode.PERMISSION_DENIED, AccessError),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.DATA_LOSS, ServerError),
    ],
)
def test_the_code_decides_the_class(code: grpc.StatusCode, kind: type[LookalikeError]) -> None:
    error = LookalikeError.from_status(status(code))
    assert type(error) is kind
    assert error.code is code
    assert str(error) == "it failed"


def test_details_are_read() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=1.5))
    resource = error_details_pb2.ResourceInfo(resource_name="collections/none")
    error = LookalikeError.from_status(status(grpc.StatusCode.NOT_FOUND, retry, resource))
    assert error.retry_after == timedelta(seconds=1.5)
    assert error.resource == "collections/none"
    assert error.reason == ""


def test_errors_can_be_kept_in_sets() -> None:
    assert len({ServerError("a"), ServerError("a")}) == 2


def test_the_exit_code_tells_unreachable_from_refused() -> None:
    away = LookalikeError.from_status(status(grpc.StatusCode.UNAVAILABLE))
    assert explain(away)[1] is ExitCode.UNREACHABLE
    reason = error_details_pb2.ErrorInfo(reason="NOT_IMPLEMENTED", domain="lookalike")
    refused = LookalikeError.from_status(status(grpc.StatusCode.UNIMPLEMENTED, reason))
    assert explain(refused) == ("this server cannot do that yet: it failed", ExitCode.REFUSED)


def test_what_does_not_explain_itself_comes_with_a_hint() -> None:
    resource = error_details_pb2.ResourceInfo(resource_name="collections/none")
    missing = LookalikeError.from_status(status(grpc.StatusCode.NOT_FOUND, resource))
    assert "`lookalike collections list`" in explain(missing)[0]
    stranger = LookalikeError.from_status(status(grpc.StatusCode.UNIMPLEMENTED))
    assert "no such service answers there" in explain(stranger)[0]
