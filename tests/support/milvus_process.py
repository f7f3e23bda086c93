"""What tests can do to a Milvus that is a child process of theirs, of either kind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final, Protocol, Self

_STOP_LIMIT: Final = 10.0


def stop_all_threads(pid: int) -> None:
    """Suspend a process; return when its last thread has noticed."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + _STOP_LIMIT
    while not all(_stopped(each) for each in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > end:
            raise RuntimeError(f"process {pid} does not stand still")
        time.sleep(0.001)


def _stopped(thread: Path) -> bool:
    try:
        stat = (thread / "stat").read_text()
    except FileNotFoundError:  # it has ended
        return True
    return stat.rpartition(")")[2].split()[0] == "T"


class MilvusProcess(Protocol):
    """`MilvusLite` or `MilvusServer`; what it stores survives `kill` and `start` again."""

    @property
    def uri(self) -> str:
        """Where it listens; the same after a restart."""
        ...

    @property
    def log(self) -> str:
        """What it printed so far."""
        ...

    def start(self) -> None:
        """Start it and wait until it serves."""
        ...

    def kill(self) -> None:
        """End it without goodbye."""
        ...

    def stop(self) -> None:
        """End it politely."""
        ...

    def suspend(self) -> None:
        """Let it stand still, with its connections open."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_raised: object) -> None: ...
