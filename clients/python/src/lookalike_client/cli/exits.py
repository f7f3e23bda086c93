"""How the command ends when it does not succeed, and what it says then.

0  done                         3  the job ended, but some items failed
1  refused, or the job failed   4  a service cannot be reached
2  wrong usage
"""

import enum
import re

import grpc

from lookalike_client.errors import (
    AccessError,
    DeadlineError,
    LookalikeError,
    NotFoundError,
    ServerError,
    UnavailableError,
)


class ExitCode(enum.IntEnum):
    """The exit codes of the command; scripts may rely on them."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    SOME_FAILED = 3
    UNREACHABLE = 4


class CommandError(Exception):
    """The command cannot go on; the message says why and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.code = code


def explain(error: LookalikeError) -> tuple[str, ExitCode]:
    """One line for people and an exit code, for an error that a service or gRPC gave."""
    unheard = isinstance(error, UnavailableError | DeadlineError)
    return _in_words(error), ExitCode.UNREACHABLE if unheard else ExitCode.REFUSED


def _in_words(error: LookalikeError) -> str:
    said = error.brief()
    match error:
        case LookalikeError(code=grpc.StatusCode.UNIMPLEMENTED, reason=""):
            line = f"no such service answers there: {said} - `lookalike doctor` looks closer"
        case LookalikeError(code=grpc.StatusCode.UNIMPLEMENTED):
            line = f"this server cannot do that yet: {said}"
        case NotFoundError(resource=resource) if re.fullmatch("collections/[^/]+", resource):
            line = f"{said} - `lookalike collections list` shows all"
        case NotFoundError(resource=resource) if resource.startswith("encoders/"):
            line = f"{said} - `lookalike models install` brings it; then start again"
        case ServerError():
            line = f"the service failed: {error}"
        case UnavailableError():
            hint = "is it running? `lookalike up` starts a suite, `lookalike doctor` looks closer"
            line = f"cannot reach the service: {unreachable(error)} - {hint}"
        case DeadlineError():
            line = f"no answer in time: {said} - try `--timeout`; `lookalike doctor` looks closer"
        case AccessError():
            line = f"not allowed: {said} - see `--token-file`"
        case _:
            line = said
    return line


def unreachable(error: LookalikeError) -> str:
    """Why a service cannot be reached, without what gRPC wraps around it."""
    return error.brief().rpartition("last error: ")[2].rpartition("remote host: ")[2]
