"""Supervises listeners until it is killed, as a process of its own, so that a test can kill it.

`python run_supervisor.py DIR PORT ...` prints the children's process ids as JSON once all run.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from lookalike_client.suite import probes
from lookalike_client.suite.program import Program
from lookalike_client.suite.supervisor import Supervisor

LISTENER = Path(__file__).with_name("listener.py")


async def main(folder: Path, ports: list[int]) -> None:
    programs = [
        Program(
            name=f"listener-{port}",
            command=(sys.executable, str(LISTENER), str(port), str(folder / "events")),
            probe=probes.tcp(port),
            environment=os.environ,
        )
        for port in ports
    ]
    supervisor = Supervisor(programs, log_dir=folder, report=print)
    async with supervisor.running():
        sys.stdout.write(json.dumps(supervisor.pids()) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
