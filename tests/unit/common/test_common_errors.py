"""The error tree: codes, reasons, field paths."""

import pickle
from datetime import timedelta

from lookalike.type.v1 import error_pb2
from lookalike_common import errors
from lookalike_common.errors import Code, FieldViolation, InvalidArgumentError, LookalikeError

CONCRETE = [each for each in errors.all_errors() if each is not errors.FailedPreconditionError]


def test_every_reason_is_declared_in_the_proto_and_has_a_class() -> None:
    declared = {
        name.removeprefix("ERROR_REASON_")
        for name in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert {each.reason for each in CONCRETE} == declared - {"UNSPECIFIED"}


def test_codes_of_the_tree_are_those_the_proto_documents() -> None:
    for each in CONCRETE:
        assert errors.error_class(each.code, each.reason) is each


def test_classes_that_services_derive_are_never_chosen() -> None:
    class OfAService(errors.HashMismatchError, reason="OF_A_SERVICE"):
        """Like the gateway's own errors."""

    assert OfAService not in set(errors.all_errors())
    assert errors.error_class(Code.INVALID_ARGUMENT, "OF_A_SERVICE") is InvalidArgumentError


def test_an_unknown_reason_falls_back_to_the_code() -> None:
    assert errors.error_class(Code.INVALID_ARGUMENT, "NEW_ONE") is InvalidArgumentError
    assert errors.error_class(Code.DATA_LOSS, "NEW_ONE") is errors.InternalError


def test_at_prefixes_the_field() -> None:
    error = errors.InvalidContentError("is empty", field="content", metadata={"a": "b"})
    moved = error.at("items[3]")
    assert moved.field == "items[3].content"
    assert moved.violations == (FieldViolation("items[3].content", "is empty"),)
    assert isinstance(moved, errors.InvalidContentError)
    assert moved.metadata == {"a": "b"}
    assert error.field == "content"


def test_at_gives_a_field_to_an_error_without_one() -> None:
    assert errors.InvalidContentError("is empty").at("items[3]").field == "items[3]"
    assert errors.InvalidFilterError("bad", field="[0]").at("a").field == "a[0]"


def test_errors_survive_pickling_between_processes() -> None:
    error = errors.OverloadedError("full", retry_after=timedelta(seconds=2), field="x")
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert isinstance(copied, LookalikeError)
    assert (copied.message, copied.retry_after, copied.field) == ("full", error.retry_after, "x")
