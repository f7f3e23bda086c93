"""Search by image through all services, over gRPC and over HTTP, against decode plus model.

Milvus Lite, encoder, search and gateway run as they do for users and share this machine's cores
with the caller. Last line: one JSON object; what counts are the ratios inside this run.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import cv2
import grpc.aio
import httpx2 as httpx
import numpy as np

from lookalike.encoder.v1 import encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_pb2,
    entity_service_pb2,
    entity_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)
from lookalike.type.v1 import content_pb2
from tests.bench.contents import images
from tests.bench.load import Call, Result, closed_loop
from tests.bench.peers import MODELS, milvus_lite, started, started_gateway

CONCURRENCIES = (1, 8)
SECONDS = 4.0
COPIES = 100
COLLECTION = "collections/bench"
ENCODER = "encoders/efficientnet-lite0"


def main() -> None:
    """Start the suite, fill a collection and measure."""
    with _suite() as (encoder, search, gateway):
        figures = asyncio.run(_measure(encoder, search, gateway))
    print(json.dumps({"benchmark": "end_to_end", **figures}))  # noqa: T201 - the result


@contextmanager
def _suite() -> Iterator[tuple[str, str, str]]:
    """Run everything; yields the addresses of encoder, search and gateway."""
    quiet = {
        f"LOOKALIKE_{name}__TELEMETRY__LOG_LEVEL": "WARNING"
        for name in ("ENCODER", "SEARCH", "GATEWAY")
    }
    with ExitStack() as stack:
        uri = stack.enter_context(milvus_lite(core=None))
        encoder = stack.enter_context(
            started("encoder", quiet | {"LOOKALIKE_ENCODER__MODELS_DIR": str(MODELS)}, core=None)
        )
        peers = quiet | {
            "LOOKALIKE_SEARCH__MILVUS__URI": uri,
            "LOOKALIKE_SEARCH__ENCODER__ADDRESS": encoder,
        }
        search = stack.enter_context(started("search", peers, core=None))
        targets = quiet | {
            "LOOKALIKE_GATEWAY__ENCODER__ADDRESS": encoder,
            "LOOKALIKE_GATEWAY__SEARCH__ADDRESS": search,
        }
        yield encoder, search, stack.enter_context(started_gateway(targets))


async def _measure(encoder: str, search: str, gateway: str) -> dict[str, object]:
    async with (
        grpc.aio.insecure_channel(encoder) as encoders,
        grpc.aio.insecure_channel(search) as searches,
        httpx.AsyncClient(base_url=gateway, timeout=60) as http,
    ):
        await _fill(searches)
        loads = {
            "encode_grpc": _encoding(encoders),
            "search_grpc": _searching(searches),
            "search_http": _searching_http(http),
        }
        results: dict[str, dict[int, Result]] = {}
        for name, call in loads.items():
            results[name] = {
                c: await closed_loop(call, concurrency=c, seconds=SECONDS) for c in CONCURRENCIES
            }
            print(name, results[name], file=sys.stderr)  # noqa: T201 - progress
    return {
        **{n: {str(c): r.as_dict() for c, r in each.items()} for n, each in results.items()},
        "json_ratio_p50": _ratio(results["search_http"][1], results["search_grpc"][1]),
        "search_over_encode_p50_ms": round(
            results["search_grpc"][1].p50_ms - results["encode_grpc"][1].p50_ms, 2
        ),
        "qps_c8_over_c1": round(
            results["search_grpc"][8].per_second / results["search_grpc"][1].per_second, 2
        ),
    }


def _ratio(above: Result, below: Result) -> float:
    return round(above.p50_ms / below.p50_ms, 2)


async def _fill(channel: grpc.aio.Channel) -> None:
    """Write many different cuts of a few pictures."""
    collections = collection_service_pb2_grpc.CollectionServiceStub(channel)
    field = collection_pb2.VectorField(encoder=ENCODER)
    await collections.CreateCollection(
        collection_service_pb2.CreateCollectionRequest(
            collection_id="bench", collection=collection_pb2.Collection(vector_fields=[field])
        )
    )
    entities = entity_service_pb2_grpc.EntityServiceStub(channel)
    for number in range(COPIES):
        await entities.UpsertEntities(
            entity_service_pb2.UpsertEntitiesRequest(
                collection=COLLECTION,
                entities=[
                    entity_pb2.Entity(
                        item=f"{number}/{index}", content=content_pb2.Content(image=file)
                    )
                    for index, file in enumerate(_cuts(number))
                ],
            )
        )


def _cuts(number: int) -> list[bytes]:
    """Return each picture without some of its border, the same for the same number."""
    chance = np.random.default_rng(number)
    files = []
    for file in images():
        picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("not a picture")
        height, width = picture.shape[:2]
        top, left = (int(chance.integers(1, side // 3)) for side in (height, width))
        files.append(cv2.imencode(".jpg", picture[top:, left:])[1].tobytes())
    return files


def _encoding(channel: grpc.aio.Channel) -> Call:
    stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
    files = images()

    async def call(number: int) -> object:
        content = content_pb2.Content(image=files[number % len(files)])
        item = encoder_service_pb2.EncodeItem(content=content)
        return await stub.Encode(encoder_service_pb2.EncodeRequest(encoder=ENCODER, items=[item]))

    return call


def _searching(channel: grpc.aio.Channel) -> Call:
    stub = search_service_pb2_grpc.SearchServiceStub(channel)
    files = images()

    async def call(number: int) -> object:
        content = content_pb2.Content(image=files[number % len(files)])
        query = search_service_pb2.Query(content=content)
        return await stub.Search(
            search_service_pb2.SearchRequest(collection=COLLECTION, queries=[query])
        )

    return call


def _searching_http(http: httpx.AsyncClient) -> Call:
    bodies = [
        {"queries": [{"content": {"image": base64.b64encode(file).decode()}}]} for file in images()
    ]

    async def call(number: int) -> object:
        reply = await http.post(f"/v1/{COLLECTION}:search", json=bodies[number % len(bodies)])
        return reply.raise_for_status()

    return call


if __name__ == "__main__":
    main()
