"""Errors to statuses and back."""

from datetime import timedelta

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from lookalike_common import errors
from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import Code, FieldViolation
from lookalike_common.status import (
    DETAILS_KEY,
    error_from_rpc,
    error_from_status,
    to_status,
)

ALL = [each for each in errors.all_errors() if each is not errors.FailedPreconditionError]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_the_wire(kind: type[errors.LookalikeError]) -> None:
    error = kind(
        "what happened",
        field="queries[0].content",
        resource_type="collection",
        resource_name="collections/a",
        retry_after=timedelta(seconds=1.5),
        metadata={"limit": "10"},
    )
    status = status_pb2.Status.FromString(to_status(error, "r1").SerializeToString())
    back = error_from_status(status)
    assert type(back) is kind
    assert back.retry_after == error.retry_after
    assert (back.resource_type, back.resource_name) == ("collection", "collections/a")
    if kind is not errors.InternalError:
        assert (back.message, back.field) == ("what happened", "queries[0].content")
        assert back.metadata == {"limit": "10"}


def test_the_text_of_an_internal_error_stays_here() -> None:
    error = errors.InternalError("password=hunter2", field="secret", metadata={"dsn": "hunter2"})
    status = to_status(error, "r1")
    assert status.message == "internal error; report request id r1"
    assert b"hunter2" not in status.SerializeToString()


def test_the_request_id_comes_from_the_context() -> None:
    with use_context(RequestContext(request_id="r7")):
        status = to_status(errors.NotFoundError("gone"))
    info = error_details_pb2.RequestInfo()
    assert any(each.Unpack(info) for each in status.details if each.Is(info.DESCRIPTOR))
    assert info.request_id == "r7"


def test_details_fit_into_trailers() -> None:
    violations = [FieldViolation(f"items[{n}].{'x' * 500}", "y" * 5000) for n in range(500)]
    error = errors.InvalidArgumentError("z" * 100_000, violations=violations)
    assert len(to_status(error, "r1").SerializeToString()) < 12_000


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.BackendUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceededError),
        (grpc.StatusCode.CANCELLED, errors.CallCancelledError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.OverloadedError),
        (grpc.StatusCode.UNKNOWN, errors.InternalError),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InternalError),
    ],
)
def test_a_bare_code_becomes_what_it_means(
    code: grpc.StatusCode, kind: type[errors.LookalikeError]
) -> None:
    assert type(error_from_rpc(grpc.aio.AioRpcError(code, details="bare"))) is kind


def test_a_status_of_another_domain_is_not_taken_for_ours() -> None:
    status = status_pb2.Status(code=Code.INVALID_ARGUMENT, message="theirs")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="x.com"))
    assert type(error_from_status(status)) is errors.InternalError


def test_an_rpc_error_carries_ours() -> None:
    status = to_status(errors.HashMismatchError("differs", field="sha256"), "r9")
    rpc_error = grpc.aio.AioRpcError(
        grpc.StatusCode.INVALID_ARGUMENT,
        trailing_metadata=grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString())),
        details=status.message,
    )
    back = error_from_rpc(rpc_error)
    assert type(back) is errors.HashMismatchError
    assert (back.message, back.field) == ("differs", "sha256")


def test_damaged_details_do_not_hide_the_code() -> None:
    rpc_error = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, trailing_metadata=grpc.aio.Metadata((DETAILS_KEY, b"\xff\xff"))
    )
    assert type(error_from_rpc(rpc_error)) is errors.BackendUnavailableError


def test_an_rpc_error_without_anything_is_internal() -> None:
    assert type(error_from_rpc(grpc.RpcError("what"))) is errors.InternalError
