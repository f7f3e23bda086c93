"""A large job through the whole suite: complete, and with flat memory.

3,000 items here; `make test-large` has 100,000.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from lookalike.ingest.v1 import job_pb2
from tests.bench.ingest_suite import peak_bytes
from tests.support.pictures import png
from tests.support.supervised_suite import SupervisedSuite, supervised_suite

ITEMS: Final = int(os.environ.get("LOOKALIKE_TEST_ITEMS", "3000"))
WARM: Final = 0.2
"""Share of the items after which memory may hardly grow any more."""
GROWTH: Final = 1.1
BAD_EVERY: Final = 20


@pytest.mark.timeout(7200)
async def test_a_large_job_needs_no_more_memory_than_its_beginning(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    good: set[str] = set()
    bad: set[str] = set()
    for number in range(ITEMS):
        is_bad = number % BAD_EVERY == 0
        (bad if is_bad else good).add(f"{number}.png")
        (root / f"{number}.png").write_bytes(b"no picture" if is_bad else png(number))
    async with supervised_suite(tmp_path, root) as suite:
        job, peaks = await asyncio.to_thread(run, suite, root)
        with suite.client() as client:
            failures = Counter(each.item for each in client.job_failures(job.name))
            stored = Counter(each.item for each in client.entities("large"))
    counts = job.counts
    assert (counts.total, counts.created, counts.failed) == (ITEMS, len(good), len(bad))
    assert failures == Counter(bad)
    assert stored == Counter(good)
    assert len(peaks) == 2, "it was over before it was warm"
    assert peaks[1] <= peaks[0] * GROWTH, peaks


def run(suite: SupervisedSuite, root: Path) -> tuple[job_pb2.Job, list[int]]:
    """Run the job; return how it ended, and the ingest process's peaks when warm and at the end."""
    ingest = suite.supervisor.pids()["ingest"]
    peaks: list[int] = []
    with suite.client() as client:
        client.create_collection("large", encoder="phash-256")
        job = client.ingest_files("large", [f"{root.as_uri()}/"])
        for moved in client.watch_job(job.name):
            job, counts = moved, moved.counts
            if not peaks and counts.created + counts.failed >= ITEMS * WARM:
                peaks.append(peak_bytes(ingest))
    peaks.append(peak_bytes(ingest))
    return job, peaks
