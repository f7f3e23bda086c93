"""`VectorStore` on Milvus: data calls. `publishing` has the life of collections."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from pymilvus.grpc_gen import milvus_pb2

from lookalike_search.adapters.milvus.aliases import Aliases
from lookalike_search.adapters.milvus.capabilities import Dialect, dialect_of
from lookalike_search.adapters.milvus.coalescing import Coalescer
from lookalike_search.adapters.milvus.connection import Message, MilvusConnection
from lookalike_search.adapters.milvus.consistency import milvus_consistency
from lookalike_search.adapters.milvus.expressions import (
    all_of,
    expired,
    expiry,
    matching,
    one_of,
    portions,
    written_after,
)
from lookalike_search.adapters.milvus.failures import MilvusFailure, unavailable
from lookalike_search.adapters.milvus.housekeeping import Housekeeping
from lookalike_search.adapters.milvus.keywords import Keywords, Lookup
from lookalike_search.adapters.milvus.metadata import Metadata
from lookalike_search.adapters.milvus.migrating import Migrating
from lookalike_search.adapters.milvus.names import DEFAULT_DATABASE
from lookalike_search.adapters.milvus.publishing import Publishing
from lookalike_search.adapters.milvus.rows import (
    from_columns,
    output_columns,
    read_ids,
    split_by_size,
    to_columns,
)
from lookalike_search.adapters.milvus.schema import (
    ID,
    ITEM,
    WRITTEN,
    key_values,
)
from lookalike_search.adapters.milvus.searches import Answer, Ask, Counts, Searches
from lookalike_search.adapters.milvus.tanimoto import nearest
from lookalike_search.adapters.milvus.vector_columns import (
    VectorColumn,
    column_of,
    columns_of,
)
from lookalike_search.adapters.milvus.word_columns import WordColumn, word_columns_of
from lookalike_search.adapters.milvus.writers import Key, Writers
from lookalike_search.filters import CheckedExpression, quote
from lookalike_search.model import (
    Alias,
    Bits,
    CollectionSettings,
    CollectionSpec,
    Consistency,
    EntityRecord,
    Neighbor,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Capabilities, Freshness

_logger = logging.getLogger(__name__)

_IDS_AT_ONCE: Final = 500
_OFF_LOOP: Final = 64
"""Rows whose conversion would hold up the event loop."""
_PARALLEL: Final = 1
"""Requests of searches that ask alike at once: more would only make each of them smaller."""
_COUNT: Final = "count(*)"
_STRONG: Final = Freshness(consistency=Consistency.STRONG)
Args = ParamSpec("Args")
Result = TypeVar("Result")


def _translated(
    method: Callable[Args, Coroutine[Any, Any, Result]],
) -> Callable[Args, Coroutine[Any, Any, Result]]:
    """Turn answers that nobody expected into errors of the common tree."""

    @functools.wraps(method)
    async def translating(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        try:
            return await method(*args, **kwargs)
        except MilvusFailure as failure:
            raise failure.translated() from failure

    return translating


class MilvusStore:
    """Collections in the Milvus at one URI. Open it with `async with`."""

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        call_limit: timedelta = timedelta(seconds=30),
        sweep_interval: timedelta = timedelta(minutes=1),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._connection = MilvusConnection(
            uri,
            token=token,
            call_limit=call_limit,
            on_ready=self._meet,
            on_change=self._tell,
        )
        self._listeners: list[Callable[[bool], None]] = []
        self._metadata = Metadata(self._connection)
        self._aliases = Aliases(self._metadata)
        self._publishing = Publishing(self._connection, self._metadata, self._aliases)
        self._migrating = Migrating(self._metadata, self._publishing, self._aliases)
        self._writers = Writers(self._flush)
        self._coalescer = Coalescer(
            Searches(self._read).run,
            parallel=_PARALLEL,
            most=lambda ask: ask.most_together,
            patient=self._is_patient,
        )
        self._keywords = Keywords(self._read, self._is_patient)
        self._dialect: Dialect | None = None
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
    def backend(self) -> str:
        """What kind of Milvus it is; empty until it was reached."""
        return self._dialect.capabilities.backend if self._dialect is not None else ""

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

    @property
    def capabilities(self) -> Capabilities:
        """See `VectorStore`."""
        return self._known_dialect().capabilities

    @_translated
    async def create(
        self, tenant: str, spec: CollectionSpec, settings: CollectionSettings
    ) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.create(tenant, spec, settings, self._known_dialect())

    @_translated
    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.resolve(tenant, collection_id)

    @_translated
    async def list_ids(self, tenant: str) -> list[str]:
        """See `VectorStore`."""
        return await self._publishing.list_ids(tenant)

    @_translated
    async def revise(
        self, tenant: str, collection: StoredCollection, settings: CollectionSettings
    ) -> StoredCollection:
        """See `VectorStore`."""
        return await self._publishing.revise(tenant, collection, settings)

    @_translated
    async def drop(self, tenant: str, collection: StoredCollection) -> None:
        """See `VectorStore`."""
        await self._publishing.drop(tenant, collection)

    @_translated
    async def set_alias(
        self, tenant: str, alias_id: str, collection_id: str, etag: str = ""
    ) -> Alias:
        """See `VectorStore`."""
        return await self._aliases.set(tenant, alias_id, collection_id, etag)

    @_translated
    async def delete_alias(self, tenant: str, alias_id: str, etag: str = "") -> None:
        """See `VectorStore`."""
        await self._aliases.delete(tenant, alias_id, etag)

    @_translated
    async def list_aliases(self, tenant: str) -> list[Alias]:
        """See `VectorStore`."""
        return await self._aliases.list(tenant)

    @_translated
    async def start_migration(
        self, tenant: str, collection: StoredCollection, spec: CollectionSpec, target_id: str
    ) -> StoredCollection:
        """See `VectorStore`."""
        dialect = self._known_dialect()
        return await self._migrating.start(tenant, collection, spec, target_id, dialect)

    @_translated
    async def turn_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """See `VectorStore`."""
        return await self._migrating.turn(tenant, collection)

    @_translated
    async def end_migration(self, tenant: str, collection: StoredCollection) -> StoredCollection:
        """See `VectorStore`."""
        return await self._migrating.end(tenant, collection)

    @asynccontextmanager
    async def exclusive(self, tenant: str, collection: StoredCollection) -> AsyncIterator[None]:
        """See `VectorStore`."""
        sides = {each.storage for each in (collection, collection.other) if each is not None}
        async with AsyncExitStack() as stack:
            for storage in sorted(sides):  # the same order for all, or they wait for each other
                await stack.enter_async_context(self._writers.exclusive((tenant, storage)))
            yield

    @_translated
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
            _upsert_requests,
            collection,
            self._columns(collection),
            self._word_columns(collection),
            records,
        ):
            rows = request.num_rows
            answer = await self._write(tenant, collection, "Upsert", request, rows=rows)
            position = max(position, int(answer.timestamp))
        return position

    @_translated
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

    @_translated
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

    @_translated
    async def count(
        self, tenant: str, collection: StoredCollection, where: CheckedExpression | None = None
    ) -> int:
        """See `VectorStore`."""
        request = _query_request(
            collection, matching(where, collection, self._clock()), [_COUNT], _STRONG, {}
        )
        answer = await self._read(tenant, collection.storage, "Query", request)
        return int(answer.fields_data[0].scalars.long_data.data[0])

    @_translated
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
            request = milvus_pb2.DeleteRequest(
                collection_name=collection.storage, expr=one_of(ID, some)
            )
            answer = await self._write(tenant, collection, "Delete", request, rows=len(some))
            position = max(position, int(answer.timestamp))
        return position

    @_translated
    async def expire(self, tenant: str, collection: StoredCollection) -> int:
        """See `VectorStore`."""
        expression = expired(collection, self._clock())
        async with self.exclusive(tenant, collection):
            request = _query_request(collection, expression, [_COUNT], _STRONG, {})
            answer = await self._read(tenant, collection.storage, "Query", request)
            rows = int(answer.fields_data[0].scalars.long_data.data[0])
            if rows:
                deletion = milvus_pb2.DeleteRequest(
                    collection_name=collection.storage, expr=expression
                )
                await self._write(tenant, collection, "Delete", deletion, rows=rows)
        return rows

    @_translated
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
        if field is None:
            raise ValueError(f"no vector field {vector_field}")
        dialect = self._known_dialect()
        effort = {name: int(value) for name, value in params.items()}
        effort["ef"] = max(effort.get("ef", limit), limit)
        ask = Ask(
            tenant=tenant,
            storage=collection.storage,
            column=column_of(field, native_bits=dialect.native_bits),
            columns=self._columns(collection),
            expression=matching(where, collection, self._clock()),
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

    @_translated
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
        columns = output_columns(projection)
        if collection.settings.ttl is not None:
            columns.append(WRITTEN)
        request = _query_request(collection, expression, columns, freshness, params)
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
        await self._publishing.load(tenant, storage)
        return await self._connection.call(call, request, tenant=tenant)

    async def _write(
        self, tenant: str, collection: StoredCollection, call: str, request: Message, *, rows: int
    ) -> Message:
        """Write inside of `exclusive`; goes on when the caller leaves."""
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
        answer = await self._connection.probe(
            "GetVersion", milvus_pb2.GetVersionRequest(), database=DEFAULT_DATABASE
        )
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

    def _known_dialect(self) -> Dialect:
        if self._dialect is None:
            raise unavailable()
        return self._dialect


async def _off_loop(
    rows: int, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """Run work in a thread where it would hold up the event loop."""
    if rows <= _OFF_LOOP:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _upsert_requests(
    collection: StoredCollection,
    vectors: Sequence[VectorColumn],
    words: Sequence[WordColumn],
    records: Sequence[EntityRecord],
) -> list[milvus_pb2.UpsertRequest]:
    """Return as many writes as the records' size needs."""
    return [
        milvus_pb2.UpsertRequest(
            collection_name=collection.storage,
            fields_data=to_columns(collection.spec, vectors, batch, words),
            num_rows=len(batch),
        )
        for batch in split_by_size(vectors, records, words)
    ]


def _query_request(
    collection: StoredCollection,
    expression: str,
    columns: Iterable[str],
    freshness: Freshness,
    params: Mapping[str, object],
) -> milvus_pb2.QueryRequest:
    level, timestamp = milvus_consistency(freshness)
    return milvus_pb2.QueryRequest(
        collection_name=collection.storage,
        expr=expression,
        output_fields=columns,
        query_params=key_values(params),
        consistency_level=level,
        guarantee_timestamp=timestamp,
        use_default_consistency=False,
    )
