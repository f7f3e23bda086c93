"""How long searches take while photos are ingested, by how long they take otherwise."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from lookalike.search.v1 import search_service_pb2, search_service_pb2_grpc
from lookalike_common.channels import open_channel
from lookalike_common.settings import TargetSettings
from tests.bench.ingest_rates import write_pictures
from tests.bench.ingest_suite import Addresses, ingest, over, suite, tell
from tests.bench.load import Call, Result, closed_loop
from tests.bench.search_backends import SERVER, backend

Figures = dict[str, Any]
_COLLECTION: Final = "searched"
_DIMENSIONS: Final = 1280
_TARGET: Final = 2.0


def measure(name: str, count: int, seconds: float) -> Figures:
    """Search a collection of so many photos, alone, and while as many more come in."""
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder:
        root = Path(folder) / "root"
        write_pictures(root / "first", count)
        write_pictures(root / "more", count, seed=1)
        with backend(name) as uri, suite(uri, root, Path(folder) / "data") as addresses:
            figures = asyncio.run(_measure(addresses, root, seconds))
    tell(f"searches on {name}: {figures}")
    return figures | ({"target_p95_ratio": _TARGET} if name == SERVER else {})


async def _measure(addresses: Addresses, root: Path, seconds: float) -> Figures:
    with addresses.client() as client:
        client.create_collection(_COLLECTION)
        await asyncio.to_thread(ingest, client, over(_COLLECTION, root / "first"))
        async with open_channel(TargetSettings(address=addresses.search)) as channel:
            call = _searching(search_service_pb2_grpc.SearchServiceStub(channel))
            idle = await closed_loop(call, concurrency=1, seconds=seconds)
            work = asyncio.create_task(
                asyncio.to_thread(ingest, client, over(_COLLECTION, root / "more"))
            )
            busy = await _until(work, call)
            done = await work
    return {
        "p95_ratio": round(busy.p95_ms / idle.p95_ms, 2),
        "idle": idle.as_dict(),
        "ingesting": busy.as_dict(),
        "images_per_s": round(done.job.counts.total / done.seconds, 1),
    }


async def _until(work: asyncio.Task[Any], call: Call) -> Result:
    """Search on until the job has ended."""
    latencies: list[float] = []
    turns: list[Result] = []
    while not work.done() or not turns:
        timed = _timed(call, latencies)
        turns.append(await closed_loop(timed, concurrency=1, seconds=1, warm_up=0))
    latencies.sort()
    at = {share: latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.95, 0.99)}
    rate = sum(each.per_second for each in turns) / len(turns)
    return Result(rate, at[0.5], at[0.95], at[0.99])


def _timed(call: Call, latencies: list[float]) -> Call:
    clock = asyncio.get_running_loop().time

    async def timed(number: int) -> None:
        begun = clock()
        await call(number)
        latencies.append(clock() - begun)

    return timed


def _searching(stub: search_service_pb2_grpc.SearchServiceAsyncStub) -> Call:
    chance = np.random.default_rng(3)
    vectors = chance.normal(size=(100, _DIMENSIONS)).astype(np.float32)

    async def call(number: int) -> None:
        query = search_service_pb2.Query()
        query.vector.dense.data = vectors[number % len(vectors)].tobytes()
        query.vector.dense.dimensions = _DIMENSIONS
        await stub.Search(
            search_service_pb2.SearchRequest(
                collection=f"collections/{_COLLECTION}", queries=[query], top_k=10
            )
        )

    return call
