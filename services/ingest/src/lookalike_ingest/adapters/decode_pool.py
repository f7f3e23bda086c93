"""A few processes that decode, each one item at a time, and what becomes of an item that kills one.

There are as many as items are decoded at once, which callers bound: one who waited here for a
process might hold up whoever has one. They are started when they are needed, used again, and
replaced after some items, after one that took much memory, and after every end that was not their
own. All are started by one thread that lives as long as the pool, since Linux ends a process with
the thread that asked for it.
"""

import io
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Final

from lookalike_common.errors import (
    CallCancelledError,
    InternalError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_ingest.adapters import decode_worker
from lookalike_ingest.adapters.decode_messages import (
    BrokenMessageError,
    Kind,
    Message,
    receive,
    send,
)
from lookalike_ingest.adapters.decode_worker import WorkerOptions
from lookalike_ingest.decoding import Decoded, DecodeLimits, Facts, Readable
from lookalike_ingest.problem import Problem
from lookalike_ingest.sources.streams import Window

_LOG = logging.getLogger(__name__)
_KEPT_VARIABLES: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ")
"""No secret of the service is among what a process can see."""
_ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_STARTING_SECONDS: Final = 60.0
"""A process that has not begun by then never will."""
_ENDING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What the processes may take."""

    idle: int = 4
    """Processes that are kept though nobody needs them."""
    memory_bytes: int = 2 << 30
    """Address space of one."""
    cpu_time: timedelta = timedelta(hours=1)
    """Processor time of one item."""
    silence: timedelta = timedelta(seconds=60)
    """A task that says nothing for so long hangs."""
    tasks: int = 100
    """Items after which a process is replaced."""


class DecodePool:
    """A `Decoder` over processes."""

    def __init__(
        self,
        processes: ProcessLimits,
        limits: DecodeLimits,
        *,
        package: str = "lookalike_ingest.decode_tasks",
    ) -> None:
        self._limits = processes
        self._options = WorkerOptions(
            parent=os.getpid(),
            package=package,
            memory_bytes=processes.memory_bytes,
            cpu_seconds=max(1, int(processes.cpu_time.total_seconds())),
            alive_seconds=processes.silence.total_seconds() / 4,
            tasks=processes.tasks,
            max_pixels=limits.max_pixels,
            max_duration_seconds=limits.max_duration.total_seconds(),
        ).to_text()
        self._starter = ThreadPoolExecutor(1, "decoders")
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._closed = False

    def run(
        self, task: str, original: Readable, arguments: Facts
    ) -> Generator[Decoded, None, None]:
        """Yield what a task finds; see `Decoder`."""
        with original.open() as file, self._process() as process, _extent(file) as extent:
            request: Facts = {
                "task": task,
                "arguments": dict(arguments),
                "start": extent.start,
                "length": extent.length,
            }
            process.ask(Message(Kind.REQUEST, request), extent.file.fileno())
            yield from process.answers(task)

    def close(self) -> None:
        """End all processes; whoever still reads from one gets CallCancelledError."""
        with self._lock:
            self._closed = True
            processes = [*self._idle, *self._busy]
            self._idle.clear()
        for process in processes:
            process.end()
        self._starter.shutdown()

    @contextmanager
    def _process(self) -> "Iterator[_Process]":
        process = self._take()
        try:
            yield process
        except LookalikeError as error:
            if self._closed:
                raise CallCancelledError("the service is stopping") from error
            raise
        finally:
            self._give_back(process)

    def _take(self) -> "_Process":
        with self._lock:
            process = self._idle.pop() if self._idle else None
        if process is None:
            process = self._start()
        with self._lock:
            self._busy.add(process)
            closed = self._closed
        if closed:
            process.end()
        return process

    def _start(self) -> "_Process":
        try:
            return self._starter.submit(_Process, self._limits, self._options).result()
        except RuntimeError as error:
            raise CallCancelledError("the service is stopping") from error

    def _give_back(self, process: "_Process") -> None:
        with self._lock:
            self._busy.discard(process)
            room = len(self._idle) < self._limits.idle
            kept = process.reusable and room and not self._closed
            if kept:
                self._idle.append(process)
        if not kept:
            process.end()


class _Process:
    """One process, and the service's end of the socket to it."""

    def __init__(self, limits: ProcessLimits, options: str) -> None:
        self._limits = limits
        self.reusable = True
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, our own arguments
                [sys.executable, "-P", "-m", decode_worker.__name__, str(theirs.fileno()), options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
                | _ONE_THREAD,
            )

    def ask(self, request: Message, file: int) -> None:
        """Give it a task; until that has ended well, it is not to be used again."""
        self.reusable = False
        self._channel.settimeout(_STARTING_SECONDS)
        with suppress(BrokenPipeError, ConnectionResetError):  # `answers` finds out why
            send(self._channel, request, file)

    def answers(self, task: str) -> Iterator[Decoded]:
        """Yield what the task finds; raise what it ended with."""
        error: LookalikeError | None = None
        while True:
            message = self._next(task)
            match message.kind:
                case Kind.PART:
                    yield Decoded(message.fields, message.data)
                case Kind.ERROR:
                    error = _error(task, message)
                case Kind.END:
                    self.reusable = message.fields.get("retire") is False
                    break
                case _:
                    continue  # it is alive
        if error is not None:
            raise error

    def end(self) -> None:
        """End it, whatever it is doing. Its zombie is collected."""
        self._process.kill()
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
        self._process.wait()
        self._channel.close()

    def _next(self, task: str) -> Message:
        try:
            message = receive(self._channel)
            self._channel.settimeout(self._limits.silence.total_seconds())
        except TimeoutError as error:
            raise InvalidContentError(
                f"the {task} decoder got no further for {self._channel.gettimeout():g} s"
            ) from error
        except (BrokenMessageError, OSError) as error:
            raise InvalidContentError(f"the {task} decoder broke off") from error
        if message is None:
            raise self._ended(task)
        return message

    def _ended(self, task: str) -> LookalikeError:
        """Say why a process is gone."""
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return InvalidContentError(f"the {task} decoder broke off")
        if code == -signal.SIGXCPU:
            return LimitExceededError(
                f"decoding it takes more than {self._limits.cpu_time.total_seconds():g} s of "
                "processor time"
            )
        if code == -signal.SIGKILL:
            return LimitExceededError(
                f"the {task} decoder was killed, by the system most likely: out of memory"
            )
        if code < 0:
            name = signal.Signals(-code).name
            return InvalidContentError(f"the {task} decoder crashed on it ({name})")
        return InternalError(f"the {task} decoder ended with the exit status {code}")


def _error(task: str, message: Message) -> LookalikeError:
    if trace := message.fields.get("trace"):
        _LOG.warning("the %s decoder failed in an unforeseen way\n%s", task, trace)
    try:
        return Problem(**message.fields["problem"]).to_error()  # type: ignore[arg-type] # checked there
    except (KeyError, TypeError, ValueError):
        return InvalidContentError(f"the {task} decoder broke off")


@dataclass(frozen=True, slots=True)
class _Extent:
    """A stretch of a file of the system, which another process can be sent."""

    file: BinaryIO
    start: int = 0
    length: int = -1
    """-1: to its end."""


@contextmanager
def _extent(file: BinaryIO) -> Iterator[_Extent]:
    """Find where the bytes lie, or copy what lies in no file, which is small."""
    found = _find(file)
    if found is not None:
        yield found
        return
    with _scratch() as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        yield _Extent(copy)


def _find(file: BinaryIO) -> _Extent | None:
    raw = file.raw if isinstance(file, io.BufferedReader) else None
    if isinstance(raw, io.FileIO):
        return _Extent(file)
    if not isinstance(raw, Window):
        return None
    whole = _find(raw.file)
    return None if whole is None else _Extent(whole.file, whole.start + raw.start, raw.length)


def _scratch() -> BinaryIO:
    """Return an empty file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("item", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile()
