"""What ingest itself costs: peers that answer at once stand for the encoder and the search service.

The service runs in a process of its own over a folder of small photos, new ones first, unchanged
ones after. Figures: how fast CreateJob answers, items a second and CPU an item (reading, hashing,
keeping originals, recording outcomes), and how memory grows with ten times the items. Everything
shares the machine with its peers, so items a second is a lower bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import loopback
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.ingest_process import Caller, Victim, victim
from tests.support.pictures import png

TARGET_CREATE_MILLISECONDS = 50.0
TARGET_MEMORY_RATIO = 1.1
PHOTO_BYTES = 20_000


@dataclass
class Figures:
    """Of one run."""

    create_ms: float
    new_items_s: float
    unchanged_items_s: float
    cpu_ms: float
    peak_mb: float


async def ingest(caller: Caller, root: Path) -> tuple[float, float]:
    """Run a job; return the seconds until it was accepted, and until it ended."""
    source = job_pb2.FilesSource(uris=[f"{root.as_uri()}/"])
    began = time.perf_counter()
    job = await caller.create(job_pb2.Job(collection=COLLECTION, files=source))
    accepted = time.perf_counter() - began
    async for reply in caller.jobs.WatchJob(pb.WatchJobRequest(name=job.name)):
        job = reply.job
    if job.state != job_pb2.Job.STATE_SUCCEEDED:
        raise RuntimeError(f"the job ended otherwise: {job}")
    return accepted, time.perf_counter() - began


async def run(items: int) -> Figures:
    """Ingest some photos twice."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        root.mkdir()
        for number in range(items):
            (root / f"{number}.png").write_bytes(png(number, filler=os.urandom(PHOTO_BYTES)))
        async with (
            victim(Peers(preferred_items=32), root, Path(folder) / "data") as service,
            open_channel(loopback(service.port)) as channel,
        ):
            caller = Caller(channel)
            await caller.list_jobs()
            before = cpu_seconds(service)
            new = await ingest(caller, root)
            used = cpu_seconds(service) - before
            repeats = [await ingest(caller, root) for _ in range(3)]
            return Figures(
                create_ms=statistics.median(each[0] for each in (new, *repeats)) * 1000,
                new_items_s=items / new[1],
                unchanged_items_s=items / min(each[1] for each in repeats),
                cpu_ms=used / items * 1000,
                peak_mb=peak_bytes(service) / 1e6,
            )


def cpu_seconds(service: Victim) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_bytes(service: Victim) -> int:
    """Return the most memory that a process ever had."""
    lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Measure, print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=500)
    options = parser.parse_args()
    few = asyncio.run(run(options.items))
    many = asyncio.run(run(options.items * 10))
    for name, each in (("few", few), ("ten times", many)):
        sys.stdout.write(
            f"{name:10} CreateJob {each.create_ms:5.1f} ms, new {each.new_items_s:6.0f}/s, "
            f"unchanged {each.unchanged_items_s:6.0f}/s, {each.cpu_ms:.2f} ms CPU an item, "
            f"peak {each.peak_mb:.0f} MB\n"
        )
    ratio = many.peak_mb / few.peak_mb
    create = max(few.create_ms, many.create_ms)
    result = {
        "benchmark": "ingest",
        "create_job_ms": round(create, 1),
        "target_create_job_ms": TARGET_CREATE_MILLISECONDS,
        "new_items_per_s": round(many.new_items_s),
        "unchanged_items_per_s": round(many.unchanged_items_s),
        "cpu_ms_per_item": round(many.cpu_ms, 2),
        "memory_ratio_for_10x": round(ratio, 3),
        "target_memory_ratio": TARGET_MEMORY_RATIO,
        "met": create < TARGET_CREATE_MILLISECONDS and ratio <= TARGET_MEMORY_RATIO,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
