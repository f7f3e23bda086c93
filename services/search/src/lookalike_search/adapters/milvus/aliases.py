"""Aliases of collections: other names that move from one collection to the next in one step.

The Milvus alias `ll_<alias>` is the truth about what a name stands for: creating it is the claim
of the name, altering it is the move. Beside it lies a record, an empty collection
`ll_<alias>_A<n>`: creating the next one is a compare-and-swap, so of two movers at once one wins;
it remembers the collection before, and its number makes the etag.

A change stores its record first and then makes the Milvus alias agree with the newest record, until
nothing changed meanwhile. So whoever is last corrects what others overtook, and a change cut short
by a kill is carried through by the next one, or by `tidy`.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import secrets
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from lookalike_common.errors import (
    AlreadyExistsError,
    ConcurrentChangeError,
    EtagMismatchError,
    LookalikeError,
    NotFoundError,
)
from lookalike_search.adapters.milvus.metadata import (
    ATTEMPTS,
    Metadata,
    owner_of,
    property_of,
)
from lookalike_search.adapters.milvus.names import alias_name, parse_record, record_name
from lookalike_search.adapters.milvus.schema import revision_schema
from lookalike_search.catalog import COLLECTION
from lookalike_search.concurrency import together
from lookalike_search.model import Alias

_logger = logging.getLogger(__name__)

ALIAS: Final = "lookalike/Alias"
"""`resource_type` of a missing alias."""
_RECORD_KEY: Final = "lookalike.alias"
_UNFINISHED: Final = timedelta(minutes=10)
"""Age at which a record that disagrees with its alias is a change that was cut short."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What is remembered of one change of an alias."""

    uid: str
    """Random; tells an alias from a later one of the same id."""
    number: int
    collection_id: str
    """Empty where the alias is being deleted."""
    previous_id: str
    time: float
    """In seconds since 1970."""

    @property
    def etag(self) -> str:
        return f"{self.uid}-{self.number}"


class Aliases:
    """Creates, moves, lists and deletes aliases."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._under_way: set[asyncio.Task[object]] = set()

    async def set(self, tenant: str, alias_id: str, collection_id: str, etag: str) -> Alias:
        """Create or move an alias; see `VectorStore.set_alias`."""
        return await self._to_the_end(self._set(tenant, alias_id, collection_id, etag))

    async def delete(self, tenant: str, alias_id: str, etag: str) -> None:
        """Delete an alias; see `VectorStore.delete_alias`."""
        await self._to_the_end(self._delete(tenant, alias_id, etag))

    async def list(self, tenant: str) -> list[Alias]:
        """Return all aliases by id."""
        records = await self._newest_records(tenant)
        ids = sorted(records)
        targets = await together([self._target(tenant, each) for each in ids])
        return [
            _alias(each, target, records[each])
            for each, target in zip(ids, targets, strict=True)
            if target not in {None, each}
        ]

    async def follow(self, tenant: str, collection_id: str) -> None:
        """Point a collection's aliases at its published incarnation, after that has changed."""
        async with self._metadata.naming:
            for each in await self.list(tenant):
                if each.collection_id == collection_id:
                    await self._settle(tenant, each.id)

    async def tidy(self, tenant: str) -> None:
        """Carry through what was cut short."""
        before = time.time() - _UNFINISHED.total_seconds()
        for alias_id, record in (await self._newest_records(tenant)).items():
            if record.time > before:
                continue
            async with self._metadata.naming:
                try:
                    await self._settle(tenant, alias_id)
                except LookalikeError as error:
                    _logger.warning("the alias %s could not be settled: %s", alias_id, error)

    async def close(self) -> None:
        """Wait for changes that are under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _to_the_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Go on when the caller leaves or its deadline passes: half a change helps nobody."""
        task = asyncio.create_task(work, context=contextvars.Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _set(self, tenant: str, alias_id: str, collection_id: str, etag: str) -> Alias:
        async with self._metadata.naming:
            for _ in range(ATTEMPTS):
                if await self._storage(tenant, collection_id) is None:
                    raise _no_collection(collection_id)
                record, target = await self._present(tenant, alias_id)
                _check_etag(etag, record if target is not None else None)
                if record is not None and target == record.collection_id == collection_id:
                    return _alias(alias_id, target, record)
                change = _Record(
                    uid=record.uid if record is not None else secrets.token_hex(8),
                    number=record.number + 1 if record is not None else 1,
                    collection_id=collection_id,
                    previous_id=target or "",
                    time=time.time(),
                )
                if await self._store(tenant, alias_id, change):
                    await self._settle(tenant, alias_id)
                    await self._forget(tenant, alias_id, before=change.number)
                    return _alias(alias_id, collection_id, change)
        raise _too_many(alias_id)

    async def _delete(self, tenant: str, alias_id: str, etag: str) -> None:
        async with self._metadata.naming:
            for _ in range(ATTEMPTS):
                record = await self._newest(tenant, alias_id)
                target = await self._target(tenant, alias_id)
                if record is None or target in {None, alias_id}:
                    raise NotFoundError(
                        "there is no such alias",
                        resource_type=ALIAS,
                        resource_name=f"aliases/{alias_id}",
                    )
                _check_etag(etag, record)
                change = _Record(
                    uid=record.uid,
                    number=record.number + 1,
                    collection_id="",
                    previous_id=target or "",
                    time=time.time(),
                )
                if await self._store(tenant, alias_id, change):
                    await self._settle(tenant, alias_id)
                    return
        raise _too_many(alias_id)

    async def _present(self, tenant: str, alias_id: str) -> tuple[_Record | None, str | None]:
        """Return an alias's newest record and its collection; raises if the name is another's."""
        record = await self._newest(tenant, alias_id)
        target = await self._target(tenant, alias_id)
        if target is not None and (record is None or target == alias_id):
            raise _taken(alias_id)
        return record, target

    async def _settle(self, tenant: str, alias_id: str) -> None:
        """Make the Milvus alias agree with the newest record, whoever wrote that."""
        for _ in range(2 * ATTEMPTS):
            record = await self._newest(tenant, alias_id)
            wanted = await self._storage(tenant, record.collection_id if record else "")
            if wanted is None:
                await self._take_down(tenant, alias_id)
                if record is not None and record.collection_id:
                    raise _no_collection(record.collection_id)
                return
            if record is None:
                continue
            await self._point(tenant, alias_id, wanted)
            again = await self._newest(tenant, alias_id)
            if again == record and wanted == await self._storage(tenant, record.collection_id):
                return
        raise _too_many(alias_id)

    async def _point(self, tenant: str, alias_id: str, storage: str) -> None:
        """Point the Milvus alias at a physical collection, unless the name is a collection's."""
        name = alias_name(alias_id)
        answer = await self._metadata.describe(tenant, name)
        if answer is None:
            if await self._metadata.create_alias(tenant, name, storage):
                return
            answer = await self._metadata.describe(tenant, name)
        if owner_of(answer) == alias_id:
            await self._forget(tenant, alias_id)
            raise _taken(alias_id)
        if answer is not None and answer.collection_name != storage:
            await self._metadata.alter_alias(tenant, name, storage)

    async def _take_down(self, tenant: str, alias_id: str) -> None:
        """Drop the Milvus alias, unless the name is a collection's, and then the records."""
        if await self._target(tenant, alias_id) not in {None, alias_id}:
            await self._metadata.drop_alias(tenant, alias_name(alias_id))
        await self._forget(tenant, alias_id)

    async def _target(self, tenant: str, alias_id: str) -> str | None:
        """Return the collection that a name stands for; itself if it is a collection's."""
        return owner_of(await self._metadata.describe(tenant, alias_name(alias_id)))

    async def _storage(self, tenant: str, collection_id: str) -> str | None:
        """Return the published incarnation of a collection, or None."""
        if not collection_id:
            return None
        answer = await self._metadata.describe(tenant, alias_name(collection_id))
        if answer is None or owner_of(answer) != collection_id:
            return None
        return str(answer.collection_name)

    async def _store(self, tenant: str, alias_id: str, record: _Record) -> bool:
        """Store the next record; False if another change was first.

        A number can be free again that others had used and dropped; a newer record tells.
        """
        name = record_name(alias_id, record.number)
        properties = {_RECORD_KEY: json.dumps(asdict(record))}
        if not await self._metadata.create(tenant, name, revision_schema(name), properties):
            return False
        newest = await self._newest(tenant, alias_id)
        if newest is not None and newest.number > record.number:
            await self._metadata.drop(tenant, name)
            return False
        return True

    async def _newest_records(self, tenant: str) -> dict[str, _Record]:
        """Return the newest record of each alias."""
        parsed = [parse_record(name) for name in await self._metadata.names(tenant)]
        ids = sorted({each.collection_id for each in parsed if each is not None})
        records = await together([self._newest(tenant, each) for each in ids])
        return {
            alias_id: record
            for alias_id, record in zip(ids, records, strict=True)
            if record is not None
        }

    async def _newest(self, tenant: str, alias_id: str) -> _Record | None:
        """Return the newest record of one alias."""
        for _ in range(ATTEMPTS):
            parsed = [parse_record(name) for name in await self._metadata.names(tenant)]
            numbers = [each.number for each in parsed if each and each.collection_id == alias_id]
            if not numbers:
                return None
            name = record_name(alias_id, max(numbers))
            text = property_of(await self._metadata.describe(tenant, name), _RECORD_KEY)
            if text is not None:  # else a newer one took its place
                return _Record(**json.loads(text))
        raise _too_many(alias_id)

    async def _forget(self, tenant: str, alias_id: str, before: int | None = None) -> None:
        for name in await self._metadata.names(tenant):
            parsed = parse_record(name)
            own = parsed is not None and parsed.collection_id == alias_id
            if own and (before is None or parsed is None or parsed.number < before):
                await self._metadata.drop(tenant, name)


def _alias(alias_id: str, target: str | None, record: _Record) -> Alias:
    return Alias(
        id=alias_id,
        collection_id=target or "",
        previous_collection_id=record.previous_id,
        etag=record.etag,
    )


def _check_etag(etag: str, record: _Record | None) -> None:
    if etag and (record is None or record.etag != etag):
        raise EtagMismatchError(
            "the alias changed since its etag was read; read it again", field="etag"
        )


def _taken(alias_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "there is a collection of this id, or one is about to take its place",
        field="alias.name",
        resource_type=COLLECTION,
        resource_name=f"collections/{alias_id}",
    )


def _no_collection(collection_id: str) -> NotFoundError:
    return NotFoundError(
        "there is no such collection",
        resource_type=COLLECTION,
        resource_name=f"collections/{collection_id}",
    )


def _too_many(alias_id: str) -> ConcurrentChangeError:
    return ConcurrentChangeError(f"others change aliases/{alias_id} at the same time; repeat")
