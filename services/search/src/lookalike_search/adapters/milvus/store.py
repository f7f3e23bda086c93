"""`VectorStore` on Milvus: data calls. `publishing` has the life of collections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from pymilvus.grpc_gen import milvus_pb2

from lookalike_search.adapters.milvus.capabilities import dialect_of
from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.connection import Message, MilvusConnection
from lookalike_search.adapters.milvus.expressions import (
    all_of,
    expired,
    expiry,
    matching,
    one_of,
    portions,
    written_after,
)
from lookalike_search.adapters.milvus.failures import (
    ForbiddenError,
    MilvusFailure,
    not_loaded,
    translated,
    unavailable,
)
from lookalike_search.adapters.milvus.housekeeping import Housekeeping
from lookalike_search.adapters.milvus.keywords import Keywords, Lookup
from lookalike_search.adapters.milvus.life import CollectionLife, sides_of
from lookalike_search.adapters.milvus.names import DEFAULT_DATABASE
from lookalike_search.adapters.milvus.requests import (
    count_request,
    delete_request,
    query_request,
    upsert_requests,
)
from lookalike_search.adapters.milvus.residency import memory_bytes
from lookalike_search.adapters.milvus.rows import (
    from_columns,
    output_columns,
    read_ids,
)
from lookalike_search.adapters.milvus.schema import (
    ID,
    ITEM,
    WRITTEN,
    resolve_index,
)
from lookalike_search.adapters.milvus.searches import Answer, Ask, Counts, Searches
from lookalike_search.adapters.milvus.tanimoto import nearest
from lookalike_search.adapters.milvus.target import TlsFiles
from lookalike_search.adapters.milvus.vector_columns import (
    VectorColumn,
    column_of,
    columns_of,
)
from lookalike_search.adapters.milvus.word_columns import WordColumn, word_columns_of
from lookalike_search.adapters.milvus.writers import Key, Writers
from lookalike_search.filters import CheckedExpression, quote
from lookalike_search.model import (
    Bits,
    CollectionState,
    CollectionStatus,
    EntityRecord,
    Neighbor,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness

_logger = logging.getLogger(__name__)

_IDS_AT_ONCE: Final = 500
_OFF_LOOP: Final = 64
"""Rows whose conversion would hold up the event loop."""
_PARALLEL: Final = 1
"""Requests of searches that ask alike at once: more would only make each of them smaller."""
Args = ParamSpec("Args")
Result = TypeVar("Result")


class MilvusStore(CollectionLife):
    """Collections in the Milvus at one URI. Open it with `async with`."""

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        tls: TlsFiles | None = None,
        database: str = DEFAULT_DATABASE,
        call_limit: timedelta = timedelta(seconds=30),
        sweep_interval: timedelta = timedelta(minutes=1),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        connection = MilvusConnection(
            uri,
            token=token,
            tls=tls,
            database=database,
            call_limit=call_limit,
            on_ready=self._meet,
            on_change=self._tell,
        )
        super().__init__(connection)
        self._listeners: list[Callable[[bool], None]] = []
        self._writers = Writers(self._flush)
        self._coalescer = Coalescer(
            Searches(self._read).run,
            parallel=_PARALLEL,
            most=lambda ask: ask.most_together,
            patient=self._is_patient,
        )
        self._keywords = Keywords(self._read, self._is_patient)
        self._housekeeping = Housekeeping(
            self._connection, self._publishing, self._aliases, self.expire, sweep_interval
        )

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._housekeeping.close()
        await self._aliases.close()
        await self._coalescer.close()
        await self._keywords.close()
        await self._writers.close()
        await self._connection.close()

    @property
    def available(self) -> bool:
        """Whether Milvus could be reached a moment ago."""
        return self._connection.available

    @property
    def has_unflushed_rows(self) -> bool:
        """Whether this process wrote rows that will be flushed soon."""
        return self._writers.are_flushing

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Have `listener` told whenever Milvus comes or goes."""
        self._listeners.append(listener)

    async def wait_until_available(self, limit: timedelta) -> bool:
        """Wait for Milvus, at most so long; tell whether it is there."""
        return await self._connection.wait_until_available(limit)

    @translated
    async def release(self, tenant: str, collection: StoredCollection) -> None:
        """See `VectorStore`."""
        async with self.exclusive(tenant, collection):
            for each in sides_of(collection):
                await self._residency.release(tenant, each.storage)

    @translated
    async def optimize(self, tenant: str, collection: StoredCollection) -> None:
        """See `VectorStore`."""
        _check_in_memory(collection)
        await self._writers.flush_now((tenant, collection.storage))
        columns = [each.name for each in self._columns(collection)]
        await self._residency.optimize(tenant, collection.storage, columns)

    @translated
    async def status(self, tenant: str, collection: StoredCollection) -> CollectionStatus:
        """See `VectorStore`."""
        if collection.settings.released:
            return CollectionStatus(state=CollectionState.RELEASED)
        if await self._residency.is_loading(tenant, collection.storage):
            return CollectionStatus(state=CollectionState.LOADING)
        rows = await self.count(tenant, collection)
        dialect = self._known_dialect()
        unflushed = self._writers.unflushed((tenant, collection.storage))
        fields = list(zip(collection.spec.vector_fields, self._columns(collection), strict=True))
        return CollectionStatus(
            entity_count=rows,
            memory_bytes=sum(
                memory_bytes(column, resolve_index(field, dialect.automatic_index), rows)
                for field, column in fields
            ),
            indexed={
                field.name: await self._residency.indexed(tenant, collection.storage, column.name)
                * (1 - min(unflushed, rows) / max(rows, 1))
                for field, column in fields
            },
        )

    @asynccontextmanager
    async def exclusive(self, tenant: str, collection: StoredCollection) -> AsyncIterator[None]:
        """See `VectorStore`."""
        async with AsyncExitStack() as stack:
            for each in sides_of(collection):  # the same order for all, or they wait for each other
                await stack.enter_async_context(self._writers.exclusive((tenant, each.storage)))
            yield

    @translated
    async def upsert(
        self,
        tenant: str,
        collection: StoredCollection,
        records: Sequence[EntityRecord],
        *,
        mirrored: Sequence[EntityRecord] = (),
    ) -> int:
        """See `VectorStore`."""
        position = 0
        if collection.other is not None and not collection.is_shadow:
            there = {each.id for each in mirrored}
            gaps = [each.id for each in records if each.id not in there]
            await self._delete_rows(tenant, collection.other, gaps)
            position = await self._upsert_rows(tenant, collection.other, mirrored)
        return max(position, await self._upsert_rows(tenant, collection, records))

    async def _upsert_rows(
        self, tenant: str, collection: StoredCollection, records: Sequence[EntityRecord]
    ) -> int:
        position = 0
        for request in await _off_loop(
            len(records),
            upsert_requests,
            collection,
            self._columns(collection),
            self._word_columns(collection),
            records,
        ):
            rows = request.num_rows
            answer = await self._write(tenant, collection, "Upsert", request, rows=rows)
            position = max(position, int(answer.timestamp))
        return position

    @translated
    async def get(
        self,
        tenant: str,
        collection: StoredCollection,
        ids: Sequence[str],
        *,
        projection: Projection,
        freshness: Freshness,
    ) -> dict[str, EntityRecord]:
        """See `VectorStore`."""
        found: dict[str, EntityRecord] = {}
        for some in portions(ids, _IDS_AT_ONCE):
            # Only this bare form is read by key; anything beside it makes Lite look at each row.
            records = await self._query(
                tenant,
                collection,
                one_of(ID, some),
                projection=projection,
                freshness=freshness,
            )
            found.update({each.id: each for each in records})
        oldest = expiry(collection, self._clock())
        if oldest is None:
            return found
        return {key: each for key, each in found.items() if written_after(each, oldest)}

    @translated
    async def scan(
        self,
        tenant: str,
        collection: StoredCollection,
        *,
        limit: int,
        after: str = "",
        where: CheckedExpression | None = None,
        items: Sequence[str] = (),
        projection: Projection,
        freshness: Freshness,
    ) -> list[EntityRecord]:
        """See `VectorStore`."""
        parts = [
            f"{ID} > {quote(after)}" if after else "",
            one_of(ITEM, items) if items else "",
            matching(where, collection, self._clock()),
        ]
        # `iterator` is what makes pages complete and sorted by id.
        params = {"limit": limit, "iterator": "True"}
        return await self._query(
            tenant,
            collection,
            all_of(parts),
            projection=projection,
            freshness=freshness,
            params=params,
        )

    @translated
    async def count(
        self, tenant: str, collection: StoredCollection, where: CheckedExpression | None = None
    ) -> int:
        """See `VectorStore`."""
        return await self._count(tenant, collection, matching(where, collection, self._clock()))

    async def _count(self, tenant: str, collection: StoredCollection, expression: str) -> int:
        _check_in_memory(collection)
        request = count_request(collection, expression)
        answer = await self._read(tenant, collection.storage, "Query", request)
        return int(answer.fields_data[0].scalars.long_data.data[0])

    @translated
    async def delete(self, tenant: str, collection: StoredCollection, ids: Sequence[str]) -> int:
        """See `VectorStore`."""
        position = 0
        if collection.other is not None and not collection.is_shadow:
            position = await self._delete_rows(tenant, collection.other, ids)
        return max(position, await self._delete_rows(tenant, collection, ids))

    async def _delete_rows(
        self, tenant: str, collection: StoredCollection, ids: Sequence[str]
    ) -> int:
        position = 0
        for some in portions(ids, _IDS_AT_ONCE):
            request = delete_request(collection, one_of(ID, some))
            answer = await self._write(tenant, collection, "Delete", request, rows=len(some))
            position = max(position, int(answer.timestamp))
        return position

    @translated
    async def expire(self, tenant: str, collection: StoredCollection) -> int:
        """See `VectorStore`."""
        expression = expired(collection, self._clock())
        total = 0
        async with self.exclusive(tenant, collection):
            for side in sides_of(collection):
                rows = await self._count(tenant, side, expression)
                if rows:
                    request = delete_request(side, expression)
                    await self._write(tenant, side, "Delete", request, rows=rows)
                total += rows
        return total

    @translated
    async def search(
        self,
        tenant: str,
        collection: StoredCollection,
        vector_field: str,
        vector: Vector,
        *,
        limit: int,
        where: CheckedExpression | None = None,
        projection: Projection,
        freshness: Freshness,
        params: Mapping[str, float],
    ) -> list[Neighbor]:
        """See `VectorStore`."""
        field = collection.spec.vector_field(vector_field)
        _check_in_memory(collection)
        if field is None:
            raise ValueError(f"no vector field {vector_field}")
        dialect = self._known_dialect()
        effort = {name: int(value) for name, value in params.items()}
        effort["ef"] = max(effort.get("ef", limit), limit)
        column = column_of(field, native_bits=dialect.native_bits)
        ask = Ask(
            tenant=tenant,
            storage=collection.storage,
            column=column,
            columns=self._columns(collection),
            expression=column.among_present(matching(where, collection, self._clock())),
            limit=limit,
            projection=projection,
            freshness=freshness,
            params=tuple(sorted(effort.items())),
            alone=dialect.searches_alone(field),
        )
        if isinstance(vector, Bits) and ask.column.ranks_by_cosine:
            return await self._nearest_by_tanimoto(ask, vector)
        return (await self._coalescer.search(ask, vector)).neighbors

    async def _nearest_by_tanimoto(self, ask: Ask, query: Bits) -> list[Neighbor]:
        async def look(window: int, counts: Counts | None) -> Answer:
            return await self._coalescer.search(ask.narrowed(window, counts), query)

        most = self.capabilities.max_window
        return await nearest(look, query, limit=ask.limit, most=most)

    @translated
    async def keyword_search(
        self,
        tenant: str,
        collection: StoredCollection,
        attribute: str,
        words: str,
        *,
        limit: int,
        where: CheckedExpression | None = None,
        projection: Projection,
        freshness: Freshness,
    ) -> list[Neighbor]:
        """See `VectorStore`."""
        _check_in_memory(collection)
        found = (
            each for each in self._word_columns(collection) if each.index.attribute == attribute
        )
        column = next(found, None)
        if column is None:
            raise ValueError(f"no words of {attribute or 'the text'} are indexed")
        lookup = Lookup(
            tenant=tenant,
            storage=collection.storage,
            words=column,
            expression=matching(where, collection, self._clock()),
            limit=limit,
            projection=projection,
            freshness=freshness,
            columns=self._columns(collection),
        )
        return await self._keywords.search(lookup, words)

    async def _query(
        self,
        tenant: str,
        collection: StoredCollection,
        expression: str,
        *,
        projection: Projection,
        freshness: Freshness,
        params: Mapping[str, object] = MappingProxyType({}),
    ) -> list[EntityRecord]:
        _check_in_memory(collection)
        columns = output_columns(projection, self._columns(collection))
        if collection.settings.ttl is not None:
            columns.append(WRITTEN)
        request = query_request(collection, expression, columns, freshness, params)
        answer = await self._read(tenant, collection.storage, "Query", request)
        ids = read_ids(answer.fields_data)
        return await _off_loop(
            len(ids), from_columns, ids, answer.fields_data, projection, self._columns(collection)
        )

    async def _read(self, tenant: str, storage: str, call: str, request: Message) -> Message:
        """Read; a collection that is not in memory, as after a restart, is loaded first."""
        try:
            return await self._connection.call(call, request, tenant=tenant)
        except MilvusFailure as failure:
            if not failure.is_not_loaded:
                raise
        await self._publishing.restore(tenant, storage)
        return await self._connection.call(call, request, tenant=tenant)

    async def _write(
        self, tenant: str, collection: StoredCollection, call: str, request: Message, *, rows: int
    ) -> Message:
        """Write inside of `exclusive`; goes on when the caller leaves."""
        _check_in_memory(collection)
        key = (tenant, collection.storage)
        answer = await self._writers.to_the_end(
            key, self._connection.call(call, request, tenant=tenant, to_the_end=True)
        )
        dialect = self._known_dialect()
        if dialect.flush_rows is not None:
            self._writers.note(key, rows, at_once=dialect.flush_rows, idle=dialect.flush_idle)
        return answer

    async def _flush(self, key: Key) -> None:
        tenant, storage = key
        request = milvus_pb2.FlushRequest(collection_names=[storage])
        await self._connection.call("Flush", request, tenant=tenant, to_the_end=True)

    async def _meet(self) -> None:
        """Find out what kind of Milvus this is; then put things in order beside the calls."""
        answer = await self._connection.probe("GetVersion", milvus_pb2.GetVersionRequest())
        # That one asks nobody who they are; what a user may do is found out in use.
        with suppress(ForbiddenError):
            await self._connection.probe("ListDatabases", milvus_pb2.ListDatabasesRequest())
            health = await self._connection.probe("CheckHealth", milvus_pb2.CheckHealthRequest())
            if not health.isHealthy:  # as a server is for good that stood still for too long
                raise unavailable()
        if self._dialect is None:
            self._dialect = dialect_of(answer.version)
        self._housekeeping.begin()

    def _columns(self, collection: StoredCollection) -> tuple[VectorColumn, ...]:
        return columns_of(collection.spec, native_bits=self._known_dialect().native_bits)

    def _word_columns(self, collection: StoredCollection) -> tuple[WordColumn, ...]:
        return word_columns_of(collection.spec, native=self._known_dialect().native_words)

    def _tell(self, available: bool) -> None:
        for each in self._listeners:
            each(available)

    def _is_patient(self) -> bool:
        return self._dialect is not None and self._dialect.patient


async def _off_loop(
    rows: int, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """Run work in a thread where it would hold up the event loop."""
    if rows <= _OFF_LOOP:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _check_in_memory(collection: StoredCollection) -> None:
    if collection.settings.released:
        raise not_loaded()
