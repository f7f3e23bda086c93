"""What a test needs to know about a running suite, and how it runs programs on it."""

import json
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lookalike_client import Client
from lookalike_client.demo import photos
from lookalike_client.suite.ports import HOST, Ports

MODELS = Path(__file__).parents[2] / ".lookalike" / "models"
PROGRAMS = ("encoder", "search", "ingest", "gateway", "milvus")


@dataclass(frozen=True)
class Suite:
    """A running suite, and photos in the folder that it may read."""

    ports: Ports
    supervisor: int
    photos: photos.PhotoSet

    @property
    def root(self) -> Path:
        """The folder that ingest may read; the photos lie in it."""
        return self.photos.folder.parent

    def address(self, service: str) -> str:
        return f"{HOST}:{getattr(self.ports, service)}"

    def pid(self, program: str) -> int:
        """The process of a program now; it must be running."""
        module = "milvus_lite" if program == "milvus" else f"lookalike_{program}"
        for pid in children_of(self.supervisor):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"-m" in command and module.encode() in command:
                return pid
        raise LookupError(program)

    def client(self, timeout: timedelta = timedelta(seconds=30)) -> Client:
        return Client(
            encoder=self.address("encoder"),
            search=self.address("search"),
            ingest=self.address("ingest"),
            timeout=timeout,
        )


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    output: str
    complaints: str

    # Any: JSON has values of every kind.
    def json(self) -> Any:
        return json.loads(self.output)


def run(*command: str, stdin: str = "", **environment: str) -> Ended:
    ended = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
        timeout=120,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
