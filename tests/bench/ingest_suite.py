"""The services that the ingest benchmark runs: the encoder on one core, all others on another.

So what is measured is what ingestion adds to the encoder's own limit, where it has room to.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from lookalike.ingest.v1 import job_pb2
from lookalike_client import Client
from tests.bench.peers import MODELS, started

ENCODER_CORE: Final = 0
OTHER_CORE: Final = 1
_PATIENCE: Final = timedelta(minutes=5)
_FINE: Final = frozenset({job_pb2.Job.STATE_SUCCEEDED, job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES})


@dataclass(frozen=True)
class Addresses:
    """Where the services listen."""

    encoder: str
    search: str
    ingest: str

    def client(self) -> Client:
        """Return a client of them."""
        return Client(
            encoder=self.encoder, search=self.search, ingest=self.ingest, timeout=_PATIENCE
        )


@contextmanager
def suite(
    uri: str, root: Path, data: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Addresses]:
    """Run encoder, search and ingest on a Milvus; `settings` are ingest's, without its prefix."""
    quiet = {
        f"LOOKALIKE_{name}__TELEMETRY__LOG_LEVEL": "WARNING"
        for name in ("ENCODER", "SEARCH", "INGEST")
    }
    with ExitStack() as stack:
        models = {"LOOKALIKE_ENCODER__MODELS_DIR": str(MODELS)}
        one = {"LOOKALIKE_ENCODER__DEVICE__THREADS": "1"}
        encoder = stack.enter_context(started("encoder", quiet | models | one, core=ENCODER_CORE))
        search = stack.enter_context(
            started(
                "search",
                quiet
                | {
                    "LOOKALIKE_SEARCH__MILVUS__URI": uri,
                    "LOOKALIKE_SEARCH__ENCODER__ADDRESS": encoder,
                },
                core=OTHER_CORE,
            )
        )
        own = {
            "DATA_DIR": str(data),
            "ROOTS": json.dumps([str(root)]),
            "ENCODER__ADDRESS": encoder,
            "SEARCH__ADDRESS": search,
            **(settings or {}),
        }
        prefixed = {f"LOOKALIKE_INGEST__{name}": value for name, value in own.items()}
        ingest = stack.enter_context(started("ingest", quiet | prefixed, core=OTHER_CORE))
        yield Addresses(encoder, search, ingest)


@dataclass(frozen=True)
class Done:
    """A job that ended."""

    job: job_pb2.Job
    seconds: float
    """From its request to its end, as the caller sees it."""


def ingest(client: Client, job: job_pb2.Job) -> Done:
    """Run a job. Raises RuntimeError unless it succeeds."""
    begun = time.perf_counter()
    created = client.create_job(job)
    *_, last = client.watch_job(created.name)
    spent = time.perf_counter() - begun
    if last.state not in _FINE:
        raise RuntimeError(f"the job ended otherwise: {last}")
    return Done(last, spent)


def over(collection: str, folder: Path) -> job_pb2.Job:
    """Return a job over a folder."""
    files = job_pb2.FilesSource(uris=[f"{folder.as_uri()}/"])
    return job_pb2.Job(collection=f"collections/{collection}", files=files)


def tell(line: str) -> None:
    """Show how far it is."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
