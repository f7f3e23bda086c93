"""Runs `lookalike up` for the demonstration, as a user would, and stops it again."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike_client.suite.ports import Ports
from lookalike_client.suite.program import tethered
from lookalike_client.suite.programs import SuiteOptions, programs

_PATIENCE = 150.0  # seconds until the suite must be ready


@dataclass(frozen=True)
class RunningSuite:
    """A suite that was ready at least once."""

    ports: Ports
    pid: int
    """Process id of `lookalike up`, whose children the programs are."""


class SuiteError(Exception):
    """The suite did not become ready; it has said why."""


@contextmanager
def running(data_dir: Path, root: Path, models_dir: Path) -> Iterator[RunningSuite]:
    """Hold a suite on free ports ready inside the context."""
    base = Ports.free_base()
    command = [
        *(sys.executable, "-m", "lookalike_client", "up"),
        *("--data-dir", str(data_dir), "--root", str(root), "--port-base", str(base)),
    ]
    ports = Ports.from_base(base)
    options = SuiteOptions(ports=ports, data_dir=data_dir, roots=[root])
    environment = {**os.environ, "LOOKALIKE_ENCODER__MODELS_DIR": str(models_dir)}
    process = subprocess.Popen(  # noqa: S603 - our own program
        tethered(command, parent=os.getpid()), env=environment, process_group=0
    )
    try:
        asyncio.run(_ready(process, options))
        yield RunningSuite(ports, process.pid)
    finally:
        process.terminate()
        process.wait()


async def _ready(process: subprocess.Popen[bytes], options: SuiteOptions) -> None:
    deadline = time.monotonic() + _PATIENCE
    for program in programs(options):
        while not await program.probe():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SuiteError(f"the suite did not start; its logs are in {options.data_dir}")
            await asyncio.sleep(0.1)
