"""A decoding process: takes one request after the other, and is not believed in anything.

It holds one socket and the one file it is asked about. While a task runs it can open nothing more
(RLIMIT_NOFILE), write no file (RLIMIT_FSIZE), take no more memory and processor time than it was
given, and it ends when the service ends.
"""

import ctypes
import importlib
import io
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from lookalike_common.errors import InvalidContentError, LimitExceededError, LookalikeError
from lookalike_ingest.adapters.decode_messages import (
    Kind,
    Message,
    receive_with_file,
    send,
)
from lookalike_ingest.decoding import DecodeLimits, Facts
from lookalike_ingest.problem import Problem
from lookalike_ingest.sources.streams import Window

Task: TypeAlias = Callable[[BinaryIO, Facts, DecodeLimits], Iterator[tuple[Facts, bytes] | None]]

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a process is told when it is started."""

    parent: int
    """Process id of the service."""
    package: str
    """Where the tasks are."""
    memory_bytes: int
    """Address space of the process."""
    cpu_seconds: int
    """Processor time of one task."""
    alive_seconds: float
    """A task that finds nothing for so long says that it goes on."""
    tasks: int
    """After so many it is replaced."""
    max_pixels: int
    max_duration_seconds: float

    def to_text(self) -> str:
        """Write them as JSON."""
        return json.dumps(asdict(self))

    @property
    def limits(self) -> DecodeLimits:
        """What items may have."""
        return DecodeLimits(self.max_pixels, timedelta(seconds=self.max_duration_seconds))


def main() -> None:
    """Serve the socket whose number is the first argument, as the second says."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    options = WorkerOptions(**json.loads(sys.argv[2]))
    _die_with(options.parent)
    _limit(options)
    with suppress(BrokenPipeError, ConnectionResetError):  # it has gone, or wants no more of this
        _serve(channel, options)


def _serve(channel: socket.socket, options: WorkerOptions) -> None:
    for count in range(1, options.tasks + 1):
        request = receive_with_file(channel)
        if request is None:
            return
        fields, file = request[0].fields, request[1]
        task, arguments = _task(options.package, str(fields["task"])), fields["arguments"]
        assert isinstance(arguments, dict)  # noqa: S101 - the service wrote it
        _grant_time(options.cpu_seconds)
        send(channel, Message(Kind.ALIVE))
        with _opened(file, fields) as item, _nothing_more_to_open():
            found = task(item, arguments, options.limits)
            worn = _answer(channel, found, options)
        retire = worn or count == options.tasks or _peak_bytes() > options.memory_bytes // 2
        send(channel, Message(Kind.END, {"retire": retire}))


def _opened(file: int, fields: Facts) -> BinaryIO:
    """Return a file from its beginning, or the stretch of it that the item is."""
    opened = os.fdopen(file, "rb")
    opened.seek(0)  # the place is shared with whoever wrote it
    start, length = int(str(fields["start"])), int(str(fields["length"]))
    return opened if length < 0 else io.BufferedReader(Window(opened, start, length))


def _answer(
    channel: socket.socket,
    found: Iterator[tuple[Facts, bytes] | None],
    options: WorkerOptions,
) -> bool:
    """Hand over what a task finds, or why it does not; return whether this has worn the process."""
    try:
        _hand_over(channel, found, options.alive_seconds)
    except LookalikeError as error:
        send(channel, _problem(error))
    except MemoryError:
        send(channel, _problem(LimitExceededError(_memory_message(options))))
        return True
    except (BrokenPipeError, ConnectionResetError):
        raise  # of the socket: tasks have no other
    except Exception as error:  # noqa: BLE001 - libraries raise anything on bad input
        send(channel, _problem(InvalidContentError(_words(error)), traceback.format_exc()))
    return False


def _hand_over(
    channel: socket.socket,
    found: Iterator[tuple[Facts, bytes] | None],
    alive_seconds: float,
) -> None:
    told = time.monotonic()
    for each in found:
        if each is not None:
            send(channel, Message(Kind.PART, each[0], each[1]))
        elif time.monotonic() - told < alive_seconds:
            continue
        else:
            send(channel, Message(Kind.ALIVE))
        told = time.monotonic()


def _task(package: str, name: str) -> Task:
    task: Task = importlib.import_module(f"{package}.{name}").run
    return task


def _problem(error: LookalikeError, trace: str = "") -> Message:
    fields = json.loads(Problem.of(error).to_text())
    return Message(Kind.ERROR, {"problem": fields, "trace": trace})


def _words(error: BaseException) -> str:
    return f"cannot be decoded: {type(error).__name__}: {error}"[:500]


def _memory_message(options: WorkerOptions) -> str:
    return f"decoding it needs more than the {options.memory_bytes} bytes of memory there are"


def _peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")  # getrusage counts what was held before exec there, too
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _limit(options: WorkerOptions) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (options.memory_bytes, options.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _grant_time(seconds: int) -> None:
    """Let the next task use so much processor time; then the kernel ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (total, hard))


@contextmanager
def _nothing_more_to_open() -> Iterator[None]:
    """No file, socket or pipe can be opened during the block; those that are open stay so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _die_with(parent: int) -> None:
    """End when the service ends, also while a codec hangs (on Linux), and gain no rights."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle


if __name__ == "__main__":
    main()
