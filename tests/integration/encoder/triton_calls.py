"""Calls an encoder with the unmodified tritonclient and prints what came back as JSON.

A program of its own: tritonclient's stubs and ours define the same symbols, and one process cannot
hold both.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

TEXT, IMAGE = "minilm-l6-v2", "efficientnet-lite0"
SENTENCES = ("a cat sleeps", "ein Hund läuft")


def main(address: str, picture: Path) -> None:
    """Call everything; print one JSON object."""
    with triton.InferenceServerClient(address) as client:
        report = {
            **_describe(client),
            **_infer(client, picture),
            "refused": _refusals(client),
            "streamed": _stream(client),
        }
    report["aio"] = asyncio.run(_aio(address))
    print(json.dumps(report))  # noqa: T201 - the result


def _texts(*values: str | bytes, name: str = "text") -> Any:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, object))
    return tensor


def _describe(client: Any) -> dict[str, object]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(TEXT),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(TEXT, as_json=True),
        "image_model": client.get_model_metadata(IMAGE, "1", as_json=True),
    }


def _infer(client: Any, picture: Path) -> dict[str, object]:
    wanted = [triton.InferRequestedOutput("embedding")]
    text = client.infer(TEXT, [_texts(*SENTENCES)], outputs=wanted, request_id="7", priority=2)
    query = client.infer(TEXT, [_texts(SENTENCES[0])], parameters={"task_type": "query"})
    file = client.infer(IMAGE, [_texts(picture.read_bytes(), name="image")])
    pixels = np.load(picture.with_suffix(".npy"))
    raw = triton.InferInput("raw_image", pixels.shape, "UINT8")
    raw.set_data_from_numpy(pixels)
    return {
        "text": text.as_numpy("embedding").tolist(),
        "id": text.get_response().id,
        "version": text.get_response().model_version,
        "query": query.as_numpy("embedding").tolist(),
        "file": file.as_numpy("embedding").tolist(),
        "raw": client.infer(IMAGE, [raw]).as_numpy("embedding").tolist(),
    }


def _refusals(client: Any) -> dict[str, list[str]]:
    good = _texts("a")
    wanted = triton.InferRequestedOutput("logits")
    calls: dict[str, Any] = {
        "model": lambda: client.infer("none", [good]),
        "version": lambda: client.infer(TEXT, [good], model_version="99"),
        "input": lambda: client.infer(TEXT, [_texts("a", name="tokens")]),
        "modality": lambda: client.infer(IMAGE, [good]),
        "output": lambda: client.infer(TEXT, [good], outputs=[wanted]),
        "item": lambda: client.infer(IMAGE, [_texts(b"no picture", name="image")]),
        "parameter": lambda: client.infer(TEXT, [good], parameters={"task_type": "poem"}),
        "metadata": lambda: client.get_model_metadata("none"),
    }
    return {name: _refusal(call) for name, call in calls.items()}


def _refusal(call: Any) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return ["", "it did not fail"]


def _stream(client: Any) -> list[list[str]]:
    """Send good and bad requests; return `[id, error]` in the order of the replies."""
    replies: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)))
    for number, model in enumerate((TEXT, "none", TEXT)):
        client.async_stream_infer(model, [_texts("a")], request_id=str(number))
    got = [replies.get(timeout=30) for _ in range(3)]
    client.stop_stream()
    return [
        ["", str(error.message())] if error else [result.get_response().id, ""]
        for result, error in got
    ]


async def _aio(address: str) -> dict[str, object]:
    async with triton_aio.InferenceServerClient(address) as client:

        async def requests() -> Any:
            for number, model in enumerate((TEXT, "none", TEXT)):
                yield {"model_name": model, "inputs": [_texts("a")], "request_id": str(number)}

        streamed = [
            ["", str(error.message())] if error else [result.get_response().id, ""]
            async for result, error in client.stream_infer(requests())
        ]
        one = await client.infer(TEXT, [_texts(SENTENCES[0])])
        return {
            "ready": await client.is_server_ready(),
            "text": one.as_numpy("embedding").tolist(),
            "streamed": streamed,
        }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
