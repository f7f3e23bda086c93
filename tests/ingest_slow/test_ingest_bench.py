"""The benchmark of ingestion, as far as it shows that it runs."""

from __future__ import annotations

import asyncio
import json
import sys


async def test_the_benchmark_runs_and_ends_with_its_figures() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.bench_ingest", "--quick"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(output.splitlines()[-1])
    for name in (
        *("images_ratio", "overhead_ms_per_item", "rss_ratio_10x", "two_workers_ratio"),
        *("create_job_ms", "new_items_per_s", "unchanged_items_per_s"),
    ):
        assert result[name] > 0, name
    assert result["search_on_lite"]["p95_ratio"] > 0
    for kind in ("audio", "video", "text", "molecules", "dna"):
        assert result[kind] is None or result[kind]["failed"] == 0, result[kind]
