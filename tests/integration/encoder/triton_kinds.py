"""Calls encoders of every kind with the unmodified tritonclient; prints what came back as JSON.

A program of its own, as `triton_calls.py` is, and for the same reason.
"""

from __future__ import annotations

import json
import queue
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from google.rpc import error_details_pb2, status_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

TEXT = "minilm-l6-v2"
LONG = ["long " * 300] * 32


def kinds(address: str, folder: Path) -> dict[str, Any]:
    """Give every encoder what it takes."""
    with triton.InferenceServerClient(address) as client:
        made: dict[str, Any] = {
            "phash": _vectors(client, "phash-256", _bytes("image", _file(folder, "cat.png"))),
            "smiles": _vectors(client, "morgan-2048", _bytes("smiles", b"CCO", b"c1ccccc1")),
            "audio": _vectors(client, "speech-embedding", _bytes("audio", _file(folder, "a.wav"))),
            "sequence": _vectors(client, "dna-kmer6", _bytes("sequence", b"ACGTTGCAAGT" * 9)),
        }
        tokens = np.load(folder / "tokens.npz")
        ids, mask = (_ints(name, tokens[name]) for name in ("input_ids", "attention_mask"))
        made["tokens"] = _vectors(client, TEXT, mask, ids)
        made["one_row"] = _vectors(client, TEXT, _ints("input_ids", tokens["one_row"]))
        endless, unknown = (_ints("input_ids", tokens[name]) for name in ("endless", "unknown"))
        made["endless"] = _refusal(client, TEXT, endless)
        made["unknown"] = _refusal(client, TEXT, unknown, mask)
        made["masked"] = _refusal(client, TEXT, ids, _ints("attention_mask", tokens["masked"]))
        return {**made, "streamed": _stream(client), "typed": _typed(address)}


def busy(address: str, folder: Path) -> dict[str, Any]:
    """Meet a full queue, versions side by side, and an encoder that is not ready."""
    red = _bytes("image", _file(folder, "red.png"))
    with triton.InferenceServerClient(address) as client:
        return {
            "versions": [
                client.get_model_metadata("tiny", version, as_json=True)["versions"]
                for version in ("1", "2", "")
            ],
            "by_version": [
                _vectors(client, "tiny", red, version=version) for version in ("1", "2", "")
            ],
            "model_ready": client.is_model_ready("phash-256"),
            "not_ready": _refusal(client, "phash-256", _bytes("image", b"x")),
            "refused": _overload(client, address),
        }


def _overload(client: Any, address: str) -> dict[str, Any]:
    """Fill the queue from a stream, which waits for room, until a single call is refused."""
    replies: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda **reply: replies.put(reply["error"]))
    client.async_stream_infer(TEXT, [_bytes("text", *(each.encode() for each in LONG))])
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while replies.empty():
            try:
                stub.ModelInfer(_request("a"))
            except grpc.RpcError as error:
                seen = _details(error)
                break
        else:
            seen = {"code": "the queue was never full"}
    answered = str(replies.get(timeout=30))
    client.stop_stream()
    return {**seen, "stream": answered}


def _details(error: Any) -> dict[str, Any]:
    metadata = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    found = any(each.Unpack(retry) for each in status.details)
    return {
        "code": str(error.code()),
        "seconds": retry.retry_delay.ToTimedelta().total_seconds() if found else 0,
    }


def _request(text: str) -> Any:
    """Ask with typed contents, which tritonclient itself never writes."""
    request = service_pb2.ModelInferRequest(model_name=TEXT)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    return request


def _typed(address: str) -> list[float]:
    with grpc.insecure_channel(address) as channel:
        reply = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(_request("text 0"))
    return list(np.frombuffer(reply.raw_output_contents[0], "<f4").tolist())


def _stream(client: Any) -> list[Any]:
    """Send 20 requests before reading a reply; return each one's id and first number."""
    replies: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)))
    for number in range(20):
        text = _bytes("text", f"text {number}".encode())
        client.async_stream_infer(TEXT, [text], request_id=str(number))
    got = [replies.get(timeout=30) for _ in range(20)]
    client.stop_stream()
    return [
        [result.get_response().id, result.as_numpy("embedding")[0].tolist()]
        for result, error in got
        if error is None
    ]


def _vectors(client: Any, model: str, *inputs: Any, version: str = "") -> dict[str, Any]:
    wanted = [triton.InferRequestedOutput("embedding")]
    made = client.infer(model, list(inputs), version, outputs=wanted).as_numpy("embedding")
    return {"dtype": str(made.dtype), "values": made.tolist()}


def _refusal(client: Any, model: str, *inputs: Any) -> list[str]:
    try:
        client.infer(model, list(inputs))
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return ["", "it did not fail"]


def _bytes(name: str, *values: bytes) -> Any:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, object))
    return tensor


def _ints(name: str, values: Any) -> Any:
    tensor = triton.InferInput(name, list(values.shape), "INT64")
    tensor.set_data_from_numpy(values)
    return tensor


def _file(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


if __name__ == "__main__":
    made = {"kinds": kinds, "busy": busy}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    print(json.dumps(made))  # noqa: T201 - the result
