"""Collections in and out of memory, their indexes, and what they take."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from lookalike_common.context import current_context
from lookalike_common.errors import DeadlineExceededError
from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.failures import MilvusFailure
from lookalike_search.adapters.milvus.metadata import Metadata
from lookalike_search.adapters.milvus.vector_columns import VectorColumn
from lookalike_search.model import IndexSpec, IndexType

_LOAD_LIMIT: Final = timedelta(minutes=5)
_OPTIMIZE_LIMIT: Final = timedelta(minutes=5)
_MARGIN: Final = timedelta(seconds=1)
"""What is left of the caller's deadline for the answer."""
_POLL: Final = 0.05


class Residency:
    """Loads and releases physical collections, and puts their storage in order."""

    def __init__(self, connection: MilvusConnection, metadata: Metadata) -> None:
        self._connection = connection
        self._metadata = metadata

    async def load(self, tenant: str, storage: str) -> None:
        """Bring a collection into memory and wait until it is there."""
        request = milvus_pb2.LoadCollectionRequest(collection_name=storage, replica_number=1)
        await self._connection.call("LoadCollection", request, tenant=tenant)
        progress = milvus_pb2.GetLoadingProgressRequest(collection_name=storage)
        async for _ in _until(_LOAD_LIMIT):
            answer = await self._connection.call("GetLoadingProgress", progress, tenant=tenant)
            if answer.progress >= 100:
                return
        raise DeadlineExceededError("the collection is still being loaded")

    async def release(self, tenant: str, storage: str) -> None:
        """Take a collection out of memory; nothing happens if it is not there."""
        request = milvus_pb2.ReleaseCollectionRequest(collection_name=storage)
        await self._connection.call("ReleaseCollection", request, tenant=tenant, to_the_end=True)

    async def is_loading(self, tenant: str, storage: str) -> bool:
        """Whether a collection is on its way into memory."""
        request = milvus_pb2.GetLoadStateRequest(collection_name=storage)
        answer = await self._connection.call("GetLoadState", request, tenant=tenant)
        return bool(answer.state == common_pb2.LoadStateLoading)

    async def optimize(self, tenant: str, storage: str, columns: Sequence[str]) -> None:
        """Seal, compact and index; return when that is done, or shortly before the deadline."""
        flush = milvus_pb2.FlushRequest(collection_names=[storage])
        answer = await self._connection.call("Flush", flush, tenant=tenant, to_the_end=True)
        await _wait(lambda: self._is_flushed(tenant, storage, answer))
        described = await self._metadata.describe(tenant, storage)
        compact = milvus_pb2.ManualCompactionRequest(
            collectionID=described.collectionID if described is not None else 0
        )
        answer = await self._connection.call("ManualCompaction", compact, tenant=tenant)
        state = milvus_pb2.GetCompactionStateRequest(compactionID=answer.compactionID)
        await _wait(lambda: self._is_compacted(tenant, state))
        for column in columns:
            await _wait(functools.partial(self._is_indexed, tenant, storage, column))

    async def indexed(self, tenant: str, storage: str, column: str) -> float:
        """Return which share of a column's stored vectors is indexed, as Milvus sees it."""
        request = milvus_pb2.DescribeIndexRequest(collection_name=storage, field_name=column)
        try:
            answer = await self._connection.call("DescribeIndex", request, tenant=tenant)
        except MilvusFailure as failure:
            if failure.is_missing_index:
                return 0.0
            raise
        described = next(
            (each for each in answer.index_descriptions if each.field_name == column), None
        )
        if described is None:
            return 0.0
        if described.total_rows <= 0:
            return 1.0
        return min(1.0, float(described.indexed_rows / described.total_rows))

    async def _is_indexed(self, tenant: str, storage: str, column: str) -> bool:
        return await self.indexed(tenant, storage, column) >= 1.0

    async def _is_flushed(
        self, tenant: str, storage: str, flushed: milvus_pb2.FlushResponse
    ) -> bool:
        request = milvus_pb2.GetFlushStateRequest(
            collection_name=storage,
            segmentIDs=flushed.coll_segIDs[storage].data,
            flush_ts=flushed.coll_flush_ts[storage],
        )
        answer = await self._connection.call("GetFlushState", request, tenant=tenant)
        return bool(answer.flushed)

    async def _is_compacted(
        self, tenant: str, request: milvus_pb2.GetCompactionStateRequest
    ) -> bool:
        answer = await self._connection.call("GetCompactionState", request, tenant=tenant)
        return bool(answer.state == common_pb2.Completed)


def memory_bytes(column: VectorColumn, index: IndexSpec, rows: int) -> int:
    """Return about how much memory the vectors of a column take while loaded.

    The structures are Faiss's: a graph has 2·M links a vector at its lowest level, clusters have
    their centres, quantised vectors their codes and a code book.
    """
    raw, dimensions = column.row_bytes, column.dimensions
    lists = index.params.get("nlist", 0) * raw
    match index.type:
        case IndexType.HNSW:
            return round(rows * (raw + 8 * index.params["M"]))
        case IndexType.IVF_SQ8:
            return round(rows * dimensions + lists)
        case IndexType.IVF_PQ:
            bits = index.params.get("nbits", 8)
            code = math.ceil(index.params.get("m", dimensions) * bits / 8)
            return round(rows * code + lists + 2**bits * raw)
        case IndexType.SCANN:
            return round(rows * (raw + dimensions / 2) + lists)
        case IndexType.DISKANN:
            return round(rows * raw / 8)
        case _:
            return round(rows * raw + lists)


async def _wait(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition, but no longer than the caller does."""
    async for _ in _until(_OPTIMIZE_LIMIT):
        if await condition():
            return


async def _until(limit: timedelta) -> AsyncIterator[None]:
    """Yield now and then, until shortly before the caller's deadline or until `limit` is over."""
    remaining = current_context().remaining()
    if remaining is not None:
        limit = min(limit, remaining - _MARGIN)
    end = time.monotonic() + limit.total_seconds()
    while True:
        yield
        if time.monotonic() >= end:
            return
        await asyncio.sleep(_POLL)
