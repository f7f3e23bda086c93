"""What a row of the tables says: an rpc, what it is asked, and how it must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from lookalike_common.errors import Code, LookalikeError
from lookalike_common.status import error_from_status


@dataclass(frozen=True)
class World:
    """What the suite holds before the first row is asked; names that are not constants."""

    root: Path
    """The folder that jobs may read."""
    job: str
    """A job that has ended, with failures."""
    job_end: int
    """The last offset of its log."""
    other_job: str
    paused_job: str
    resumable_job: str
    """Paused, too."""
    upload: str
    """An upload of which four bytes are there."""
    lying_upload: str
    """An upload that announced other bytes than it will get."""
    fingerprint: str
    """Of the encoder of pictures."""
    tokens: Mapping[str, str]
    """Page tokens by the rpc and the question that they belong to."""

    def uri(self, path: str = "") -> str:
        """Return where something below the root lies."""
        return f"{self.root.as_uri()}/{path}"


Request = Message | Sequence[Message]
"""One message, or those of a stream."""
# Any: replies are messages of every type; those of a stream come as a list.
Check = Callable[[Any], object]


@dataclass(frozen=True)
class Answers:
    """The call succeeds, and what it answers is right."""

    check: Check


@dataclass(frozen=True)
class Refuses:
    """The call ends with a status, for this field and this resource, where it is about one."""

    code: Code
    reason: str
    field: str = ""
    resource: str = ""


@dataclass(frozen=True)
class RefusesItem:
    """The call succeeds; of its results this one is an error."""

    reason: str
    field: str
    code: Code = Code.INVALID_ARGUMENT
    index: int = 0


@dataclass(frozen=True)
class Ends:
    """The job that was created ends with these items failed, in these steps, for these reasons."""

    failures: Mapping[str, tuple[str, str]]
    created: int


Outcome = Answers | Refuses | RefusesItem | Ends


@dataclass(frozen=True)
class Row:
    """One question."""

    rpc: str
    """`{service}.{method}`."""
    name: str
    request: Request | Callable[[World], Request]
    outcome: Outcome
    server: str = ""
    """Which server is asked; where it is empty, the only one that has the rpc."""

    def asked(self, world: World) -> Request:
        """Return what is asked."""
        return self.request(world) if callable(self.request) else self.request

    def __str__(self) -> str:
        return f"{self.rpc}: {self.name}"


def invalid(field: str, reason: str = "INVALID_FIELD") -> Refuses:
    """Expect INVALID_ARGUMENT."""
    return Refuses(Code.INVALID_ARGUMENT, reason, field)


def missing(resource: str, field: str = "") -> Refuses:
    """Expect NOT_FOUND."""
    return Refuses(Code.NOT_FOUND, "RESOURCE_NOT_FOUND", field, resource)


def later(field: str) -> Refuses:
    """Expect that this release cannot do it yet."""
    return Refuses(Code.UNIMPLEMENTED, "NOT_IMPLEMENTED", field)


def mismatch(field: str) -> Refuses:
    """Expect that something does not fit what the collection is bound to."""
    return Refuses(Code.FAILED_PRECONDITION, "ENCODER_MISMATCH", field)


def assert_refused(error: LookalikeError, expected: Refuses) -> None:
    """Compare an error with what a row says about it."""
    fields = {violation.field for violation in error.violations} or {""}
    assert (error.code, error.reason) == (expected.code, expected.reason), error
    assert expected.field in fields, error.violations
    if expected.resource:
        assert error.resource_name == expected.resource


# Any: results of Encode, UpsertEntities and BatchGetEntities.
def assert_item_refused(result: Any, expected: RefusesItem) -> None:
    """Compare one result with what a row says about it."""
    assert result.WhichOneof("result") == "error", result
    refusal = Refuses(expected.code, expected.reason, expected.field)
    assert_refused(error_from_status(result.error), refusal)
