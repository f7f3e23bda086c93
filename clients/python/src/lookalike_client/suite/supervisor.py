"""Keeps the suite's programs running: start, wait for ready, restart with back-off, stop in order.

There is no daemon and no state file: the supervisor is the foreground process, and the kernel
takes its children along when it dies, however it dies (see tether.py).
"""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lookalike_client.suite.program import Program


class StartFailedError(Exception):
    """A program did not become ready; the message says which, why, and where its log is."""


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits for things."""

    poll: timedelta = timedelta(milliseconds=100)
    """Between two questions whether a program is ready."""
    unremarkable: timedelta = timedelta(seconds=15)
    """For all programs to become ready, before it is said which are not, and why."""
    ready: timedelta = timedelta(minutes=2)
    """For all programs to become ready at the start."""
    stop: timedelta = timedelta(seconds=25)
    """For a program to end when asked, before it is killed."""
    first_restart: timedelta = timedelta(milliseconds=500)
    """Before the first restart of a program; each further one waits twice as long."""
    longest_restart: timedelta = timedelta(seconds=30)
    """Before any restart, at most."""
    healthy: timedelta = timedelta(seconds=60)
    """A program that ran this long begins again with the first delay."""
    start_attempts: int = 3
    """How often a program may end before it was ever ready."""


class _Child:
    """One program's current process and its history."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.failures = 0

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    def sweep(self) -> None:
        """Kill what is left of the program's process group: workers of a leader that died."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Runs programs from `running()` on until that context ends."""

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        log_dir: Path,
        report: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        self._children = [_Child(p, log_dir / f"{p.name}.log") for p in programs]
        self._report = report
        self._patience = patience or Patience()

    def pids(self) -> dict[str, int]:
        """The process id of each program that has been started."""
        return {c.program.name: c.process.pid for c in self._children if c.process is not None}

    @contextlib.asynccontextmanager
    async def running(self, until: asyncio.Event | None = None) -> AsyncIterator[None]:
        """Hold all programs ready inside the context; raise StartFailedError if they cannot be.

        When `until` is set before they are ready, the context is entered without waiting longer.
        """
        keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        try:
            await self._await_ready(keepers, until or asyncio.Event())
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._stop()

    async def _await_ready(
        self, keepers: Sequence[asyncio.Task[None]], until: asyncio.Event
    ) -> None:
        ready = asyncio.create_task(self._all_ready())
        given_up = asyncio.create_task(_set(until))
        remark = asyncio.create_task(self._remark())
        try:
            done, _ = await asyncio.wait(
                {ready, given_up, *keepers},
                timeout=self._patience.ready.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
            given_up.cancel()
            remark.cancel()
        for task in done:
            task.result()  # a keeper ends only by raising
        if not done:
            raise StartFailedError(f"not ready in time: {self._late()}")

    def _late(self) -> str:
        """Which programs are not ready, and what the first of them wrote last."""
        late = [child for child in self._children if not child.ready.is_set()]
        names = ", ".join(child.program.name for child in late)
        return "\n".join([f"{names}; {late[0].log} ends with", *_tail(late[0].log, 2)])

    async def _remark(self) -> None:
        await asyncio.sleep(self._patience.unremarkable.total_seconds())
        self._report(f"still waiting for {self._late()}")

    async def _all_ready(self) -> None:
        for child in self._children:
            await child.ready.wait()

    async def _keep(self, child: _Child) -> None:
        """Run one program for ever; give up only while it has never been ready."""
        while True:
            begun = time.monotonic()
            child.process = await child.program.start(child.log, parent=os.getpid())
            watcher = asyncio.create_task(self._mark_ready(child))
            try:
                code = await child.process.wait()
            finally:
                watcher.cancel()
            child.sweep()
            if time.monotonic() - begun > self._patience.healthy.total_seconds():
                child.failures = 0
            child.failures += 1
            self._check_start(child, code)
            delay = self._restart_delay(child.failures)
            name = child.program.name
            self._report(f"{name} {_ending(code)}; it restarts in {delay:.1f} s ({child.log})")
            await asyncio.sleep(delay)

    async def _mark_ready(self, child: _Child) -> None:
        while not await child.program.probe():  # noqa: ASYNC110 - another process sends no event
            await asyncio.sleep(self._patience.poll.total_seconds())
        if child.ready.is_set():
            self._report(f"{child.program.name} is ready again")
        child.ready.set()

    def _check_start(self, child: _Child, code: int) -> None:
        if child.ready.is_set() or child.failures < self._patience.start_attempts:
            return
        message = f"{child.program.name} does not start: it {_ending(code)}; log: {child.log}"
        raise StartFailedError("\n".join([message, *_tail(child.log)]))

    def _restart_delay(self, failures: int) -> float:
        first = self._patience.first_restart.total_seconds()
        doublings = min(failures - 1, 16)
        return float(min(first * 2**doublings, self._patience.longest_restart.total_seconds()))

    async def _stop(self) -> None:
        """End the programs, those that use others first."""
        for stage in sorted({child.program.stage for child in self._children}, reverse=True):
            leaving = [child for child in self._children if child.program.stage == stage]
            await asyncio.gather(*(self._end(child) for child in leaving))

    async def _end(self, child: _Child) -> None:
        if child.process is None:
            return
        child.signal(child.program.stop_signal)
        try:
            async with asyncio.timeout(self._patience.stop.total_seconds()):
                await child.process.wait()
        except TimeoutError:
            self._report(f"{child.program.name} did not stop in time and is killed")
            child.signal(signal.SIGKILL)
            await child.process.wait()
        child.sweep()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _tail(log: Path, lines: int = 8) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
