"""What is done beside the calls: putting things in order, and sweeping out what has expired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from pymilvus.grpc_gen import milvus_pb2

from lookalike_common.errors import LookalikeError, NotFoundError
from lookalike_search.adapters.milvus.aliases import Aliases
from lookalike_search.adapters.milvus.connection import MilvusConnection
from lookalike_search.adapters.milvus.failures import MilvusFailure
from lookalike_search.adapters.milvus.publishing import Publishing
from lookalike_search.model import StoredCollection

_logger = logging.getLogger(__name__)

_PATIENCE: Final = timedelta(minutes=1)

Expire = Callable[[str, StoredCollection], Awaitable[object]]
"""Removes from a tenant's collection what has expired."""


class Housekeeping:
    """Tidies up whenever Milvus was found, and sweeps in between."""

    def __init__(
        self,
        connection: MilvusConnection,
        publishing: Publishing,
        aliases: Aliases,
        expire: Expire,
        interval: timedelta,
    ) -> None:
        self._connection = connection
        self._publishing = publishing
        self._aliases = aliases
        self._expire = expire
        self._interval = interval.total_seconds()
        self._tidying: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Tidy up now, and sweep from now on; where that goes on already, let it."""
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.create_task(self._tidy(), name="milvus-tidy")
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="milvus-sweep")

    async def close(self) -> None:
        """Stop."""
        tasks = [each for each in (self._tidying, self._sweeping) if each is not None]
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _tidy(self) -> None:
        async def tidy(tenant: str) -> None:
            await self._publishing.tidy(tenant)
            await self._aliases.tidy(tenant)

        await self._in_each_tenant("put Milvus in order", tidy)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._in_each_tenant("sweep out what has expired", self._sweep)

    async def _sweep(self, tenant: str) -> None:
        for each in await self._publishing.list_ids(tenant):
            try:
                collection = await self._publishing.resolve(tenant, each)
                settings = collection.settings
                if settings.ttl is not None and not settings.released:
                    await self._expire(tenant, collection)
            except NotFoundError:
                continue  # deleted since it was listed

    async def _in_each_tenant(
        self, what: str, work: Callable[[str], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await self._connection.wait_until_available(_PATIENCE)
            answer = await self._connection.call("ListDatabases", milvus_pb2.ListDatabasesRequest())
            for name in answer.db_names:
                tenant = self._connection.databases.tenant(name)
                if tenant is not None:
                    await work(tenant)
        except (LookalikeError, MilvusFailure) as error:
            _logger.warning("could not %s: %s", what, error)
