"""Writes entities, encoding what comes as content."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from lookalike_common.errors import InternalError, LookalikeError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.backfills import Backfills
from lookalike_search.commands.embedding import embed
from lookalike_search.concurrency import together
from lookalike_search.encoding import EncoderPort
from lookalike_search.mirroring import in_step, mirrored, prepare_mirror
from lookalike_search.model import (
    Consistency,
    EntityRecord,
    Outcome,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.writing import (
    Encoding,
    EntityDraft,
    PreparedWrite,
    WriteReport,
    Written,
    check_fingerprints,
    decide,
    prepare,
)

_logger = logging.getLogger(__name__)

_STRONG: Final = Freshness(consistency=Consistency.STRONG)
_OFF_LOOP: Final = 64
_WITHOUT_VECTORS: Final = Projection()


@dataclass(frozen=True, slots=True)
class _Write:
    """One entity that is to be written, and what the other side gets while one migrates."""

    prepared: PreparedWrite
    mirror: PreparedWrite | None
    """None for no migration, and where the write lacks what the other side needs."""

    @property
    def id(self) -> str:
        return self.prepared.record.id


@dataclass(slots=True)
class _Round:
    """What one look at what is stored leads to."""

    results: dict[str, Written | LookalikeError] = field(default_factory=dict)
    waiting: list[_Write] = field(default_factory=list)
    """Writes that need a vector first."""
    records: list[EntityRecord] = field(default_factory=list)
    kept: list[EntityRecord] = field(default_factory=list)
    """Written again with the vectors that are stored."""
    kept_there: list[EntityRecord] = field(default_factory=list)
    """The same on the other side."""
    mirrored: list[EntityRecord] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """Entities that the other side is not to have."""
    position: int = 0
    seconds: float = 0.0
    """How long the store took, with waiting for other writers."""


class Upserts:
    """The command behind `UpsertEntities`."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog
        self._backfills = Backfills(store, encoder, catalog)

    async def upsert(
        self,
        tenant: str,
        collection_id: str,
        drafts: Sequence[EntityDraft | LookalikeError],
        fingerprints: Mapping[str, str] = MappingProxyType({}),
    ) -> WriteReport:
        """Write entities; a bad one fails alone, and of those with the same id the last wins.

        `fingerprints` are those of the encoders that made the vectors, by vector field, as far as
        the caller wants them compared.
        """
        first: dict[str, Written] = {}
        """What was answered already, should a migration make the rest begin anew."""

        async def work(collection: StoredCollection) -> WriteReport:
            check_fingerprints(fingerprints, collection.spec)
            if collection.is_shadow:
                return await self._backfills.write(tenant, collection, drafts)
            prepared = await _prepare_all(drafts, collection)
            last = {each.id: each for each in prepared if not isinstance(each, LookalikeError)}
            written = await self._write_all(tenant, collection, list(last.values()), first)
            results = written.results | first
            return WriteReport(
                [
                    each if isinstance(each, LookalikeError) else results[each.id]
                    for each in prepared
                ],
                written.position,
                timedelta(seconds=written.seconds),
            )

        return await self._catalog.using(tenant, collection_id, work)

    async def _write_all(
        self,
        tenant: str,
        collection: StoredCollection,
        writes: Sequence[_Write],
        first: dict[str, Written],
    ) -> _Round:
        """Write what needs to be, encoding only what turns out to be new or changed.

        The first round finds out what has to be encoded, and writes the rest; encoding happens
        outside of the collection's lock, so the second round decides again.
        """
        one = await self._write_round(tenant, collection, writes, first)
        if not one.waiting:
            return one
        encoded, failed = await self._encode(one.waiting)
        two = await self._write_round(tenant, collection, encoded, first)
        if two.waiting:
            raise InternalError("an encoded entity still lacks a vector")
        return _Round(
            results={**one.results, **failed, **two.results},
            position=max(one.position, two.position),
            seconds=one.seconds + two.seconds,
        )

    async def _write_round(
        self,
        tenant: str,
        collection: StoredCollection,
        writes: Sequence[_Write],
        first: dict[str, Written],
    ) -> _Round:
        """Write what can be; return the results, and the writes that need a vector first."""
        started = time.monotonic()
        ids = [each.id for each in writes]
        async with self._catalog.exclusively(tenant, collection):
            stored = await self._stored(tenant, collection, ids)
            twins = {}
            if collection.other is not None:
                twins = await self._stored(tenant, collection.other, ids)
            done = _decide_all(writes, stored, twins, collection)
            done.records += await self._with_vectors(tenant, collection, done.kept)
            if done.gaps:
                # A gap is right as long as the other side does not answer yet: look, at once.
                await self._catalog.confirm(tenant, collection, now=True)
            if collection.other is not None:
                kept = await self._with_vectors(tenant, collection.other, done.kept_there)
                done.mirrored += kept
                await self._store.delete(tenant, collection.other, done.gaps)
            if done.records or done.mirrored:
                done.position = await self._store.upsert(
                    tenant, collection, done.records, mirrored=done.mirrored
                )
        for key, result in done.results.items():
            if isinstance(result, Written):
                first.setdefault(key, result)
        done.seconds = time.monotonic() - started
        return done

    async def _stored(
        self, tenant: str, collection: StoredCollection, ids: Sequence[str]
    ) -> dict[str, EntityRecord]:
        return await self._store.get(
            tenant, collection, ids, projection=_WITHOUT_VECTORS, freshness=_STRONG
        )

    async def _with_vectors(
        self, tenant: str, collection: StoredCollection, records: Sequence[EntityRecord]
    ) -> list[EntityRecord]:
        """Return unchanged entities with the vectors that are stored: nothing to encode there."""
        if not records:
            return []
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
        self, writes: Sequence[_Write]
    ) -> tuple[list[_Write], dict[str, LookalikeError]]:
        """Fill in missing vectors; what cannot be encoded fails alone.

        What the encoders of the other side cannot do, or when they are away, is a gap there.
        """
        own = [(each.id, lack) for each in writes for lack in each.prepared.missing]
        asked = {_source(*each) for each in own}
        others = [
            (each.id, lack)
            for each in writes
            for lack in (each.mirror.missing if each.mirror else ())
            if _source(each.id, lack) not in asked
        ]
        answers = await together(
            [
                embed(self._encoder, [lack for _, lack in own]),
                _in_spite(embed(self._encoder, [lack for _, lack in others]), len(others)),
            ]
        )
        made = {
            _source(*each): answer
            for each, answer in zip([*own, *others], [*answers[0], *answers[1]], strict=True)
        }
        encoded: list[_Write] = []
        failed: dict[str, LookalikeError] = {}
        for each in writes:
            prepared = _filled(each.id, each.prepared, made)
            mirror = _filled(each.id, each.mirror, made) if each.mirror else None
            if isinstance(prepared, LookalikeError):
                failed[each.id] = prepared
            else:
                whole = mirror if isinstance(mirror, PreparedWrite) else None
                encoded.append(_Write(prepared, whole))
        return encoded, failed


def _decide_all(
    writes: Sequence[_Write],
    stored: Mapping[str, EntityRecord],
    twins: Mapping[str, EntityRecord],
    collection: StoredCollection,
) -> _Round:
    """Compare writes with what is stored here, and with their `twins` on the other side.

    The vectors of an unchanged entity stay, here and there: nothing is encoded for them.
    """
    done = _Round()
    now = datetime.now(UTC)
    renew = collection.settings.ttl is not None
    for each in writes:
        present, twin = stored.get(each.id), twins.get(each.id)
        try:
            decision = decide(each.prepared.record, present, now, renew=renew)
        except LookalikeError as error:
            done.results[each.id] = error
            continue
        record = decision.record
        same = decision.outcome is Outcome.UNCHANGED or record is None
        behind = collection.other is not None and not (same and in_step(present, twin))
        lacks = () if same else each.prepared.missing
        if behind and each.mirror is not None:
            lacks += each.mirror.missing
        if lacks:
            done.waiting.append(each)
            continue
        done.results[each.id] = Written(each.id, decision.outcome)
        if record is not None:
            (done.kept if each.prepared.missing else done.records).append(record)
        held = record or present
        if behind and each.mirror is not None and held is not None:
            done.mirrored.append(mirrored(held, each.mirror))
        elif behind:
            done.gaps.append(each.id)
        elif twin is not None and record is not None:
            kept = replace(record, attributes=twin.attributes, vectors={})
            done.kept_there.append(kept)
    return done


def _source(key: str, lack: Encoding) -> tuple[str, str, str]:
    """Return what tells equal vectors of one entity: the encoder, and what it encodes."""
    return (key, lack.field.fingerprint, lack.source)


def _filled(
    key: str, prepared: PreparedWrite, made: Mapping[tuple[str, str, str], Vector | LookalikeError]
) -> PreparedWrite | LookalikeError:
    """Return a write with its missing vectors, or why one could not be made."""
    vectors = dict(prepared.record.vectors)
    for lack in prepared.missing:
        answer = made[_source(key, lack)]
        if isinstance(answer, LookalikeError):
            return answer
        vectors[lack.field.name] = answer
    return replace(prepared, record=replace(prepared.record, vectors=vectors), missing=())


async def _in_spite(
    answers: Coroutine[Any, Any, list[Vector | LookalikeError]], count: int
) -> list[Vector | LookalikeError]:
    """Return what concerns a whole call as the error of each of its `count` answers."""
    try:
        return await answers
    except LookalikeError as error:
        _logger.warning("the other side of a migration gets no vectors: %s", error)
        return [error] * count


async def _prepare_all(
    drafts: Sequence[EntityDraft | LookalikeError], collection: StoredCollection
) -> list[_Write | LookalikeError]:
    """Check all drafts, in a thread where it would hold up the event loop."""

    def prepare_all() -> list[_Write | LookalikeError]:
        return [_try_prepare(each, collection) for each in drafts]

    return await asyncio.to_thread(prepare_all) if len(drafts) > _OFF_LOOP else prepare_all()


def _try_prepare(
    draft: EntityDraft | LookalikeError, collection: StoredCollection
) -> _Write | LookalikeError:
    if isinstance(draft, LookalikeError):
        return draft
    try:
        return _Write(prepare(draft, collection.spec), prepare_mirror(draft, collection))
    except LookalikeError as error:
        return error
