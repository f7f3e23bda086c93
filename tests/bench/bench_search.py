"""Search by vector through the service against the same search by pymilvus, on one Milvus Lite.

Both callers ask for the ten nearest of the same collection and get ids and attributes; callers and
servers share this machine's cores. What counts is the ratio in one run. The last line is JSON.

    PYTHONPATH=. python tests/bench/bench_search.py [--rows 20000] [--dimensions 384] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
from grpc_health.v1 import health_pb2
from numpy.typing import NDArray
from pymilvus import AsyncMilvusClient

from lookalike.search.v1 import collection_pb2, entity_pb2, search_service_pb2
from lookalike.type.v1 import vector_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, free_port, loopback
from lookalike_search.adapters.milvus import MilvusStore
from tests.bench.load import Result, closed_loop
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import SearchClient

CONCURRENCIES = (1, 8, 32)
BATCH = 500
Vectors = NDArray[np.float32]


async def main() -> None:
    """Fill a collection and measure both ways into it."""
    options = _options()
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((options.rows, options.dimensions), np.float32)
    queries = rng.standard_normal((256, options.dimensions), np.float32)
    with tempfile.TemporaryDirectory() as folder, MilvusLite(Path(folder)) as milvus:
        async with _service(milvus.uri) as client:
            name, loaded = await _fill(client, vectors)
            storage = await _storage(milvus.uri, name.rpartition("/")[2])
            ours = await _measure_ours(client, name, queries, options.seconds)
            theirs = await _measure_theirs(milvus.uri, storage, queries, options.seconds)
    ratios = {str(c): round(ours[c].per_second / theirs[c].per_second, 2) for c in CONCURRENCIES}
    sys.stdout.write(
        json.dumps(
            {
                "benchmark": "search",
                "rows": options.rows,
                "dimensions": options.dimensions,
                "upserts_per_second": round(loaded),
                "service": {str(c): ours[c].as_dict() for c in CONCURRENCIES},
                "pymilvus": {str(c): theirs[c].as_dict() for c in CONCURRENCIES},
                "ratio": ratios,
                "added_p50_ms_at_1": round(ours[1].p50_ms - theirs[1].p50_ms, 2),
            }
        )
        + "\n"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=5)
    return parser.parse_args()


@asynccontextmanager
async def _service(milvus_uri: str) -> AsyncIterator[SearchClient]:
    """Run the service in a process of its own."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lookalike_search",
        env={
            **os.environ,
            "LOOKALIKE_SEARCH__SERVER__PORT": str(port),
            "LOOKALIKE_SEARCH__SERVER__METRICS_PORT": str(free_port()),
            "LOOKALIKE_SEARCH__MILVUS__URI": milvus_uri,
            "LOOKALIKE_SEARCH__TELEMETRY__LOG_LEVEL": "WARNING",
        },
    )
    try:
        async with open_channel(loopback(port)) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            request = health_pb2.HealthCheckRequest(service="lookalike.search.v1.SearchService")

            async def serving() -> bool:
                reply = await check(request, wait_for_ready=True)
                return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

            await assert_eventually(serving, 30)
            yield SearchClient(channel)
    finally:
        process.terminate()
        await process.wait()


async def _fill(client: SearchClient, vectors: Vectors) -> tuple[str, float]:
    """Return the collection's name and how many entities were written in a second."""
    rows, dimensions = vectors.shape
    name = await client.create(
        collection_pb2.VectorField(dimensions=dimensions, metric=vector_pb2.METRIC_COSINE),
        collection_id="bench",
    )
    started = time.perf_counter()
    for start in range(0, rows, BATCH):
        entities = []
        for number in range(start, min(rows, start + BATCH)):
            entity = entity_pb2.Entity(name=f"{name}/entities/e{number}", item=f"item{number}")
            entity.vectors["vector"].dense.data = vectors[number].tobytes()
            entity.attributes["number"] = number
            entities.append(entity)
        await client.upsert(name, *entities)
    loaded = rows / (time.perf_counter() - started)
    await asyncio.sleep(2)  # the last rows are flushed and the files merged
    return name, loaded


async def _storage(milvus_uri: str, collection_id: str) -> str:
    async with MilvusStore(milvus_uri) as store:
        await store.wait_until_available(timedelta(seconds=10))
        return (await store.resolve("", collection_id)).storage


async def _measure_ours(
    client: SearchClient, name: str, queries: Vectors, seconds: float
) -> dict[int, Result]:
    requests = [
        search_service_pb2.SearchRequest(
            collection=name,
            queries=[
                search_service_pb2.Query(
                    vector=vector_pb2.Vector(dense=vector_pb2.DenseVector(data=each.tobytes()))
                )
            ],
        )
        for each in queries
    ]

    async def call(number: int) -> None:
        reply = await client.searches.Search(requests[number % len(requests)])
        if len(reply.hits) != 10:
            raise RuntimeError(f"{len(reply.hits)} hits")

    return {c: await closed_loop(call, concurrency=c, seconds=seconds) for c in CONCURRENCIES}


async def _measure_theirs(
    milvus_uri: str, storage: str, queries: Vectors, seconds: float
) -> dict[int, Result]:
    client = AsyncMilvusClient(milvus_uri)

    async def call(number: int) -> None:
        [found] = await client.search(
            storage,
            [queries[number % len(queries)]],
            anns_field="v_vector",
            limit=10,
            output_fields=["item", "attrs"],
            search_params={"metric_type": "COSINE"},
        )
        if len(found) != 10:
            raise RuntimeError(f"{len(found)} hits")

    try:
        return {c: await closed_loop(call, concurrency=c, seconds=seconds) for c in CONCURRENCIES}
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
