"""Callers of an encoder, ours or another server's, in a process of their own.

Arguments: one of CALLERS, and the server's address. Questions (`do`): `vectors` of the first items,
all asked for at once, and `load`. Every server meets the same closed loop on the same event loop;
its requests are the cheapest it takes.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import grpc.aio
import numpy as np
import uvloop

from tests.bench.contents import of_kind
from tests.bench.echo_server import SERVICE
from tests.bench.load import closed_loop
from tests.bench.worker import answer

Content = str | bytes
MODEL: Final = "minilm"
"""As the other servers call it."""
OPTIONS: Final = (("grpc.max_receive_message_length", -1),)
WARM_UP: Final = 0.5


class Caller(Protocol):
    """Calls one server."""

    async def __call__(self, contents: Sequence[Content]) -> list[bytes]:
        """Return each content's vector as little-endian floats, if it has them so."""
        ...


Opened = AbstractAsyncContextManager[Caller]


@asynccontextmanager
async def lookalike(address: str) -> AsyncIterator[Caller]:
    """Our own API."""
    from lookalike.encoder.v1 import encoder_service_pb2 as pb
    from lookalike.encoder.v1 import encoder_service_pb2_grpc
    from lookalike.type.v1 import content_pb2

    def item(content: Content) -> pb.EncodeItem:
        if isinstance(content, str):
            return pb.EncodeItem(content=content_pb2.Content(text=content))
        return pb.EncodeItem(content=content_pb2.Content(image=content))

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)

        async def call(contents: Sequence[Content]) -> list[bytes]:
            name = "minilm-l6-v2" if isinstance(contents[0], str) else "efficientnet-lite0"
            items = [item(each) for each in contents]
            reply = await stub.Encode(pb.EncodeRequest(encoder=f"encoders/{name}", items=items))
            for result in reply.results:
                if result.HasField("error"):
                    raise RuntimeError(result.error.message)
            return [each.item.vectors[0].dense.data for each in reply.results]

        yield call


@asynccontextmanager
async def open_inference(address: str) -> AsyncIterator[Caller]:
    """MLServer and Triton: the Open Inference Protocol, texts one a row."""
    from tritonclient.grpc import service_pb2 as pb  # clashes with our own stubs of that protocol

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        infer: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

        async def call(contents: Sequence[Content]) -> list[bytes]:
            request = pb.ModelInferRequest(model_name=MODEL)
            request.inputs.add(name="text", datatype="BYTES", shape=[len(contents), 1])
            rows = [_encoded(each) for each in contents]
            request.raw_input_contents.append(
                b"".join(struct.pack("<I", len(each)) + each for each in rows)
            )
            reply = await infer(request)
            block = b"".join(reply.raw_output_contents) or _floats(
                reply.outputs[0].contents.fp32_contents
            )
            return _split(block, len(contents))

        yield call


@asynccontextmanager
async def http(address: str) -> AsyncIterator[Caller]:
    """LitServe: JSON over HTTP, on connections that stay open."""
    host, _, port = address.partition(":")
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(contents: Sequence[Content]) -> list[bytes]:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        (content,) = contents
        body = json.dumps({"text": content}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = await reader.readuntil(b"\r\n\r\n")
        length = int(told.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        said = await reader.readexactly(length)
        if not told.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(said.decode(errors="replace")[:500])
        idle.append((reader, writer))
        return [base64.b64decode(json.loads(said)["vector"])]

    try:
        yield call
    finally:
        for _, writer in idle:
            writer.close()


@asynccontextmanager
async def echo(address: str) -> AsyncIterator[Caller]:
    """A server that does nothing."""
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(f"/{SERVICE}/Call")

        async def call(contents: Sequence[Content]) -> list[bytes]:
            return [await method(_encoded(each)) for each in contents]

        yield call


CALLERS: Final[dict[str, Callable[[str], Opened]]] = {
    "lookalike": lookalike,
    "open_inference": open_inference,
    "http": http,
    "echo": echo,
}
_contents = functools.cache(of_kind)


async def _reply(call: Caller, question: dict[str, Any]) -> object:
    contents = _contents(str(question["kind"]))
    if question["do"] == "vectors":
        some = [contents[i % len(contents)] for i in range(int(question["count"]))]
        made = await asyncio.wait_for(asyncio.gather(*(call([each]) for each in some)), 20)
        return [np.frombuffer(each, "<f4").tolist() for (each,) in made]
    size = int(question["size"])

    async def send(number: int) -> None:
        await call([contents[(number * size + i) % len(contents)] for i in range(size)])

    seconds = float(question["seconds"])
    result = await closed_loop(
        send,
        concurrency=int(question["concurrency"]),
        seconds=seconds,
        warm_up=min(WARM_UP, seconds / 2),
    )
    return result.as_dict() | {"per_second": result.per_second * size}


def _encoded(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _floats(values: Sequence[float]) -> bytes:
    return np.asarray(values, "<f4").tobytes()


def _split(block: bytes, count: int) -> list[bytes]:
    size = len(block) // count
    return [block[size * i : size * (i + 1)] for i in range(count)]


def main(name: str, address: str) -> None:
    """Answer questions about one server."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opened = CALLERS[name](address)
        call = runner.run(opened.__aenter__())
        answer(lambda question: runner.run(_reply(call, question)))
        runner.run(opened.__aexit__(None, None, None))


if __name__ == "__main__":
    main(*sys.argv[1:])
