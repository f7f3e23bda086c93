from __future__ import annotations

import asyncio
import json
import sys


async def test_the_benchmark_runs_and_ends_with_its_figures() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.bench_search",
        "--quick",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(output.splitlines()[-1])
    assert result["recall_at_10"] == 1.0
    assert result["upserts_per_s"] > 0
    assert result["qps_ratio_to_pymilvus"] > 0
    assert result["qps_ratio_c32_lite_100k"] is None
    assert isinstance(result["added_p50_ms"], float)
    [run] = result["runs"]
    assert {"1", "8", "32"} == run["searches"].keys()
    assert {"1 %", "10 %", "50 %", "one shared", "100 distinct"} == run["filters"].keys()
    assert {"vector", "keyword", "hybrid"} == run["hybrid"].keys()
    assert [(each["nq"], each["top_k"]) for each in run["grid"]] == [
        (1, 1),
        (1, 10),
        (10, 1),
        (10, 10),
    ]
