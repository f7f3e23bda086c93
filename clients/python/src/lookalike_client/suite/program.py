"""What the supervisor needs to know about one program."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Probe = Callable[[], Awaitable[bool]]

_TETHER = Path(__file__).with_name("tether.py")


@dataclass(frozen=True)
class Program:
    """A program to keep running: how to start it, how to know that it is ready, how to stop it."""

    name: str
    """Shown to people; also the name of its log file."""
    command: Sequence[str]
    """Absolute path of the executable, then its arguments."""
    probe: Probe
    """True once the program can serve."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the program."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks it to end."""
    stage: int = 0
    """Programs of a higher stage use those of lower ones, and are stopped first."""

    async def start(self, log: Path, *, parent: int) -> asyncio.subprocess.Process:
        """Start it, tethered to the process `parent`, writing both its outputs to `log`."""
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *tethered(self.command, parent=parent),
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C is for the supervisor, which stops them in order
            )


def tethered(command: Sequence[str], *, parent: int) -> list[str]:
    """The command that runs `command` until it ends or the process `parent` does."""
    return [sys.executable, "-I", "-S", str(_TETHER), str(parent), *command]
