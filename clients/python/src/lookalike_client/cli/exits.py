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
    if error.code is grpc.StatusCode.UNIMPLEMENTED and not error.reason:
        hint = "is that the right address? `lookalike doctor` looks closer"
        return f"another program, or release, answers there: {error.brief()} - {hint}", (
            ExitCode.REFUSED
        )
    if error.code is grpc.StatusCode.UNIMPLEMENTED:
        return f"this server cannot do that yet: {error.brief()}", ExitCode.REFUSED
    match error:
        case NotFoundError(resource=resource) if re.fullmatch("collections/[^/]+", resource):
            return f"{error.brief()} - `lookalike collections list` shows all", ExitCode.REFUSED
        case ServerError():
            return f"the service failed: {error}", ExitCode.REFUSED
        case UnavailableError():
            hint = "is it running? `lookalike up` starts a suite, `lookalike doctor` looks closer"
            return f"cannot reach the service: {unreachable(error)} - {hint}", ExitCode.UNREACHABLE
        case DeadlineError():
            return f"no answer in time: {error.brief()} - try `--timeout`", ExitCode.UNREACHABLE
        case AccessError():
            return f"not allowed: {error.brief()} - see `--token-file`", ExitCode.REFUSED
        case _:
            return error.brief(), ExitCode.REFUSED


def unreachable(error: LookalikeError) -> str:
    """Why a service cannot be reached, without what gRPC wraps around it."""
    return error.brief().rpartition("last error: ")[2].rpartition("remote host: ")[2]
