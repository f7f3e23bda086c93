"""Encoder over gRPC against the same model in-process: server on one core, client on another.

The limit is tokenising or decoding plus the same ONNX session on that core, sorted by length over
a window of c items, at its best batch size. Last line: one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Sequence

import grpc.aio

from lookalike.encoder.v1 import encoder_service_pb2 as pb
from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from tests.bench.load import closed_loop
from tests.bench.peers import MODELS, on_core, pin, started

SERVER_CORE, CLIENT_CORE = 0, 1
CONCURRENCIES = (1, 4, 16, 64)
SECONDS = 4.0
WORDS = (
    *("river", "mountain", "quiet", "garden", "blue", "engine", "letter", "morning", "window"),
    *("paper", "train", "music", "winter", "bridge", "story", "copper", "market", "island"),
    *("doctor", "silver", "forest", "kitchen", "planet", "coffee", "harbour", "soldier"),
    *("violin", "thunder", "basket", "library"),
)
TEXT, IMAGE = "encoders/minilm-l6-v2", "encoders/efficientnet-lite0"


def main() -> None:
    """Measure both encoders at each concurrency and in requests of 32."""
    pin(CLIENT_CORE)
    limits = json.loads(_in_process())
    environment = {
        "LOOKALIKE_ENCODER__MODELS_DIR": str(MODELS),
        "LOOKALIKE_ENCODER__DEVICE__THREADS": "1",
        "LOOKALIKE_ENCODER__DEVICE__DECODE_THREADS": "1",
        "LOOKALIKE_ENCODER__TELEMETRY__LOG_LEVEL": "WARNING",
    }
    with started("encoder", environment, core=SERVER_CORE) as address:
        figures = asyncio.run(_measure(address, limits))
    print(json.dumps({"benchmark": "encoder", **figures}))  # noqa: T201 - the result


def _in_process() -> str:
    """Measure the limits in a process of their own on the server's core."""
    command = on_core(SERVER_CORE, [sys.executable, "-m", "tests.bench.encoder_limit"])
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return output.splitlines()[-1]


async def _measure(address: str, limits: dict[str, dict[str, float]]) -> dict[str, object]:
    figures: dict[str, object] = {}
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        for kind, encoder, contents in (
            ("text", TEXT, [content_pb2.Content(text=each) for each in texts(2000)]),
            ("image", IMAGE, [content_pb2.Content(image=each) for each in images()]),
        ):
            for concurrency in CONCURRENCIES:
                figures[f"{kind}_c{concurrency}"] = await _row(
                    stub, encoder, contents, concurrency=concurrency, size=1, limits=limits[kind]
                )
            figures[f"{kind}_requests_of_32"] = await _row(
                stub, encoder, contents, concurrency=2, size=32, limits=limits[kind]
            )
    return figures


async def _row(
    stub: encoder_service_pb2_grpc.EncoderServiceAsyncStub,
    encoder: str,
    contents: Sequence[content_pb2.Content],
    *,
    concurrency: int,
    size: int,
    limits: dict[str, float],
) -> dict[str, float]:
    """Run one load and relate it to the limit of the same window."""

    async def call(number: int) -> None:
        chosen = [contents[(number * size + i) % len(contents)] for i in range(size)]
        request = pb.EncodeRequest(
            encoder=encoder, items=[pb.EncodeItem(content=each) for each in chosen]
        )
        reply = await stub.Encode(request)
        if any(result.HasField("error") for result in reply.results):
            raise RuntimeError(reply.results[0].error.message)

    result = await closed_loop(call, concurrency=concurrency, seconds=SECONDS)
    limit = limits[str(max(concurrency, size))]
    row: dict[str, float] = result.as_dict() | {
        "per_second": round(result.per_second * size, 1),
        "limit_per_second": round(limit, 1),
        "ratio": round(result.per_second * size / limit, 3),
    }
    print(f"{encoder} c={concurrency} x{size}: {row}", file=sys.stderr)  # noqa: T201 - progress
    return row


def texts(count: int) -> list[str]:
    """Return sentences of 6 to 16 common words, the same in every run."""
    chance = random.Random(7)
    return [" ".join(chance.choices(WORDS, k=chance.randint(6, 16))) for _ in range(count)]


def images() -> list[bytes]:
    """Return photos as JPEG files about 600 pixels wide, from the package of samples."""
    import cv2
    import skimage.data

    names = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
    files = []
    for name in names:
        picture = cv2.cvtColor(getattr(skimage.data, name)(), cv2.COLOR_RGB2BGR)
        scale = 600 / picture.shape[1]
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        files.append(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return files


if __name__ == "__main__":
    main()
