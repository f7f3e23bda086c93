"""Memory by number of items, between peers that answer at once; and what CreateJob takes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import loopback
from tests.bench.ingest_suite import cpu_seconds, peak_bytes, tell
from tests.support.ingest_peers import COLLECTION, Peers
from tests.support.ingest_process import Caller, victim
from tests.support.pictures import png

Figures = dict[str, Any]
_PHOTO_BYTES: Final = 5_000
_TARGET_CREATE_MS: Final = 50.0
_TARGET_RATIO: Final = 1.1


async def measure(items: int, factors: tuple[int, ...] = (1, 10, 100)) -> Figures:
    """Ingest so many photos, ten and a hundred times as many; each by a fresh service."""
    runs = {factor: await _run(items * factor) for factor in factors}
    for factor, run in runs.items():
        tell(f"{items * factor} items: {run}")
    peaks = {factor: run["peak_mb"] for factor, run in runs.items()}
    largest = runs[max(factors)]
    return {
        "create_job_ms": max(run["create_job_ms"] for run in runs.values()),
        "target_create_job_ms": _TARGET_CREATE_MS,
        "new_items_per_s": largest["new_items_per_s"],
        "unchanged_items_per_s": largest["unchanged_items_per_s"],
        "cpu_ms_per_item": largest["cpu_ms_per_item"],
        "peak_mb": peaks,
        "rss_ratio_10x": round(peaks[10] / peaks[1], 3),
        "rss_ratio_100x": round(peaks[100] / peaks[1], 3) if 100 in peaks else None,
        "target_rss_ratio": _TARGET_RATIO,
    }


async def _run(items: int) -> Figures:
    """Ingest some photos twice."""
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder:
        root = Path(folder) / "photos"
        root.mkdir()
        for number in range(items):
            (root / f"{number}.png").write_bytes(png(number, filler=os.urandom(_PHOTO_BYTES)))
        async with (
            victim(Peers(preferred_items=32), root, Path(folder) / "data") as service,
            open_channel(loopback(service.port)) as channel,
        ):
            caller = Caller(channel)
            await caller.list_jobs()
            before = cpu_seconds(service.pid)
            new = await ingest(caller, root)
            used = cpu_seconds(service.pid) - before
            peak = peak_bytes(service.pid)
            repeats = [await ingest(caller, root) for _ in range(2)]
            return {
                "create_job_ms": round(
                    statistics.median(each[0] for each in (new, *repeats)) * 1000, 1
                ),
                "new_items_per_s": round(items / new[1]),
                "unchanged_items_per_s": round(items / min(each[1] for each in repeats)),
                "cpu_ms_per_item": round(used / items * 1000, 2),
                "peak_mb": round(peak / 1e6, 1),
            }


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
