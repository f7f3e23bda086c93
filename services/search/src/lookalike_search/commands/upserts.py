"""Writes entities, encoding what comes as content."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from lookalike_common.errors import InternalError, LookalikeError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.embedding import embed
from lookalike_search.encoding import EncoderPort
from lookalike_search.model import (
    CollectionSpec,
    Consistency,
    EntityRecord,
    Outcome,
    Projection,
    StoredCollection,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.writing import EntityDraft, PreparedWrite, decide, prepare

_STRONG: Final = Freshness(consistency=Consistency.STRONG)
_OFF_LOOP: Final = 64
_WITHOUT_VECTORS: Final = Projection()


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one entity that was kept."""

    id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the entities, in the order of the drafts."""

    results: list[Written | LookalikeError]
    position: int
    """What a read must see to see these writes."""
    stored_in: timedelta = timedelta(0)
    """How long the store took, with waiting for other writers."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What became of writes, by their ids."""

    results: dict[str, Written | LookalikeError]
    waiting: list[PreparedWrite] = field(default_factory=list)
    """Writes that need a vector first."""
    position: int = 0
    seconds: float = 0.0
    """How long the store took."""


class Upserts:
    """The command behind `UpsertEntities`."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def upsert(
        self, tenant: str, collection_id: str, drafts: Sequence[EntityDraft | LookalikeError]
    ) -> WriteReport:
        """Write entities; a bad one fails alone, and of those with the same id the last wins."""

        async def work(collection: StoredCollection) -> WriteReport:
            prepared = await _prepare_all(drafts, collection.spec)
            last = {
                each.record.id: each for each in prepared if not isinstance(each, LookalikeError)
            }
            written = await self._write_all(tenant, collection, list(last.values()))
            return WriteReport(
                [
                    each if isinstance(each, LookalikeError) else written.results[each.record.id]
                    for each in prepared
                ],
                written.position,
                timedelta(seconds=written.seconds),
            )

        return await self._catalog.using(tenant, collection_id, work)

    async def _write_all(
        self, tenant: str, collection: StoredCollection, writes: Sequence[PreparedWrite]
    ) -> _Round:
        """Write what needs to be, encoding only what turns out to be new or changed.

        The first round finds out what has to be encoded, and writes the rest; encoding happens
        outside of the collection's lock, so the second round decides again.
        """
        first = await self._write_round(tenant, collection, writes)
        if not first.waiting:
            return first
        encoded, failed = await self._encode(first.waiting)
        second = await self._write_round(tenant, collection, encoded)
        if second.waiting:
            raise InternalError("an encoded entity still lacks a vector")
        return _Round(
            results={**first.results, **failed, **second.results},
            position=max(first.position, second.position),
            seconds=first.seconds + second.seconds,
        )

    async def _write_round(
        self, tenant: str, collection: StoredCollection, writes: Sequence[PreparedWrite]
    ) -> _Round:
        """Decide about each write, and do those that lack no vector."""
        started = time.monotonic()
        results: dict[str, Written | LookalikeError] = {}
        waiting: list[PreparedWrite] = []
        records: list[EntityRecord] = []
        kept: list[EntityRecord] = []
        position = 0
        renew = collection.settings.ttl is not None
        async with self._store.exclusive(tenant, collection):
            stored = await self._store.get(
                tenant,
                collection,
                [each.record.id for each in writes],
                projection=_WITHOUT_VECTORS,
                freshness=_STRONG,
            )
            now = datetime.now(UTC)
            for each in writes:
                key = each.record.id
                try:
                    decision = decide(each.record, stored.get(key), now, renew=renew)
                except LookalikeError as error:
                    results[key] = error
                    continue
                if decision.record is not None and each.missing:
                    if decision.outcome is Outcome.UNCHANGED:
                        kept.append(decision.record)
                    else:
                        waiting.append(each)
                        continue
                elif decision.record is not None:
                    records.append(decision.record)
                results[key] = Written(key, decision.outcome)
            if kept:
                records += await self._with_vectors(tenant, collection, kept)
            if records:
                position = await self._store.upsert(tenant, collection, records)
        return _Round(results, waiting, position, time.monotonic() - started)

    async def _with_vectors(
        self, tenant: str, collection: StoredCollection, records: Sequence[EntityRecord]
    ) -> list[EntityRecord]:
        """Return unchanged entities with the vectors that are stored: nothing to encode there."""
        stored = await self._store.get(
            tenant,
            collection,
            [each.id for each in records],
            projection=Projection(
                text=False,
                attributes=False,
                vectors=frozenset(each.name for each in collection.spec.vector_fields),
                system=False,
            ),
            freshness=_STRONG,
        )
        return [
            replace(each, vectors={**stored[each.id].vectors, **each.vectors})
            for each in records
            if each.id in stored  # else it expired this very moment
        ]

    async def _encode(
        self, writes: Sequence[PreparedWrite]
    ) -> tuple[list[PreparedWrite], dict[str, LookalikeError]]:
        """Fill in missing vectors; what cannot be encoded fails alone."""
        vectors = {each.record.id: dict(each.record.vectors) for each in writes}
        failed: dict[str, LookalikeError] = {}
        wanted = [(each.record.id, lack) for each in writes for lack in each.missing]
        answers = await embed(self._encoder, [lack for _, lack in wanted])
        for (key, lack), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, LookalikeError):
                failed[key] = answer
            else:
                vectors[key][lack.field.name] = answer
        encoded = [
            replace(each, record=replace(each.record, vectors=vectors[each.record.id]), missing=())
            for each in writes
            if each.record.id not in failed
        ]
        return encoded, failed


async def _prepare_all(
    drafts: Sequence[EntityDraft | LookalikeError], spec: CollectionSpec
) -> list[PreparedWrite | LookalikeError]:
    """Check all drafts, in a thread where it would hold up the event loop."""

    def prepare_all() -> list[PreparedWrite | LookalikeError]:
        return [_try_prepare(each, spec) for each in drafts]

    return await asyncio.to_thread(prepare_all) if len(drafts) > _OFF_LOOP else prepare_all()


def _try_prepare(
    draft: EntityDraft | LookalikeError, spec: CollectionSpec
) -> PreparedWrite | LookalikeError:
    if isinstance(draft, LookalikeError):
        return draft
    try:
        return prepare(draft, spec)
    except LookalikeError as error:
        return error
