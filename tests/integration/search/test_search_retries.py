"""What is tried again when Milvus has a moment's trouble, and what never is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from lookalike_common.context import RequestContext, use_context
from lookalike_common.errors import BackendUnavailableError
from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.failures import MilvusFailure

_QUERY = milvus_pb2.QueryRequest(collection_name="c")
_UPSERT = milvus_pb2.UpsertRequest(collection_name="c")
_CREATE = milvus_pb2.CreateCollectionRequest(collection_name="c")
_CHANNEL_AWAY = 503
_UNEXPECTED = 65_535


class TroubledMilvus(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc] # - without types
    """Answers with the troubles that a test gives it, one a call, and then well."""

    def __init__(self) -> None:
        self.troubles: list[int | grpc.StatusCode] = []
        self.calls: list[str] = []

    async def Query(self, _request: Any, context: Any) -> Any:  # noqa: N802 - the rpc's name
        """Answer a read."""
        return milvus_pb2.QueryResults(status=await self._status("Query", context))

    async def Upsert(self, _request: Any, context: Any) -> Any:  # noqa: N802 - the rpc's name
        """Answer a write."""
        return milvus_pb2.MutationResult(status=await self._status("Upsert", context))

    async def CreateCollection(self, _request: Any, context: Any) -> Any:  # noqa: N802 - the rpc's name
        """Answer what would not be the same twice."""
        return await self._status("CreateCollection", context)

    async def _status(self, name: str, context: Any) -> Any:
        self.calls.append(name)
        trouble = self.troubles.pop(0) if self.troubles else 0
        if isinstance(trouble, grpc.StatusCode):
            await context.abort(trouble, "trouble")
        return common_pb2.Status(code=trouble, reason="trouble" if trouble else "")


@asynccontextmanager
async def connected(milvus: TroubledMilvus) -> AsyncIterator[MilvusConnection]:
    async def ready() -> None:
        return None

    server = grpc.aio.server()
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(milvus, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = MilvusConnection(f"127.0.0.1:{port}", on_ready=ready, on_change=lambda _: None)
    await connection.open()
    try:
        assert await connection.wait_until_available(timedelta(seconds=30))
        yield connection
    finally:
        await connection.close()
        await server.stop(None)


@pytest.mark.parametrize("trouble", [grpc.StatusCode.UNAVAILABLE, 2, _CHANNEL_AWAY])
@pytest.mark.parametrize(("name", "request_"), [("Query", _QUERY), ("Upsert", _UPSERT)])
async def test_a_moment_of_trouble_is_not_seen(
    name: str, request_: object, trouble: int | grpc.StatusCode
) -> None:
    milvus = TroubledMilvus()
    async with connected(milvus) as connection:
        milvus.troubles = [trouble, trouble]
        await connection.call(name, request_)
        assert milvus.calls == [name] * 3


async def test_trouble_that_lasts_is_told() -> None:
    milvus = TroubledMilvus()
    async with connected(milvus) as connection:
        milvus.troubles = [grpc.StatusCode.UNAVAILABLE] * 9
        with pytest.raises(BackendUnavailableError):
            await connection.call("Query", _QUERY)
        assert milvus.calls == ["Query"] * 4
        milvus.troubles = [_CHANNEL_AWAY] * 9
        with pytest.raises(MilvusFailure) as caught:
            await connection.call("Query", _QUERY)
        assert type(caught.value.translated()) is BackendUnavailableError


@pytest.mark.parametrize(
    ("name", "request_", "trouble"),
    [
        ("CreateCollection", _CREATE, grpc.StatusCode.UNAVAILABLE),  # who knows whether it is there
        ("CreateCollection", _CREATE, 2),
        ("Query", _QUERY, _UNEXPECTED),  # it would be the same again
        ("Query", _QUERY, grpc.StatusCode.INTERNAL),
    ],
)
async def test_what_is_not_tried_again(
    name: str, request_: object, trouble: int | grpc.StatusCode
) -> None:
    milvus = TroubledMilvus()
    async with connected(milvus) as connection:
        milvus.troubles = [trouble]
        with pytest.raises(Exception, match=r".") as caught:
            await connection.call(name, request_)
        assert not isinstance(caught.value, AssertionError)
        assert milvus.calls == [name]


async def test_no_try_begins_behind_the_deadline() -> None:
    milvus = TroubledMilvus()
    async with connected(milvus) as connection:
        milvus.troubles = [grpc.StatusCode.UNAVAILABLE] * 9
        with (
            use_context(RequestContext(deadline=time.monotonic() + 0.15)),
            pytest.raises(BackendUnavailableError),
        ):
            await connection.call("Query", _QUERY)
        assert len(milvus.calls) <= 2
