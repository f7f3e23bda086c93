"""Changes some fields of an entity, encoding only what has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from lookalike_common.errors import CollectionNotReadyError, LookalikeError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.embedding import embed
from lookalike_search.commands.entities import missing_entity
from lookalike_search.encoding import EncoderPort
from lookalike_search.mirroring import in_step, translated
from lookalike_search.model import (
    Consistency,
    EntityRecord,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.updating import (
    EntityChange,
    PlannedUpdate,
    finish_update,
    plan_update,
    read_change,
)
from lookalike_search.writing import EntityDraft

_STRONG: Final = Freshness(consistency=Consistency.STRONG)


@dataclass(frozen=True, slots=True)
class _Twin:
    """A change as the other side of a migration understands it, with the vectors it needs."""

    change: EntityChange
    made: Mapping[str, Vector]


class Updates:
    """The command behind `UpdateEntity`."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def update(
        self, tenant: str, collection_id: str, draft: EntityDraft, mask: Sequence[str]
    ) -> EntityRecord:
        """Change what the mask selects; return the entity as it is now, without its vectors.

        Reading, laying the change over it and writing are one step; encoding happens before it,
        by a first look at the entity.
        """

        async def work(collection: StoredCollection) -> EntityRecord:
            spec = collection.spec
            if collection.is_shadow:
                raise CollectionNotReadyError(
                    f"it is the target of a migration; change collections/{spec.id}", field="name"
                )
            change = read_change(draft, mask, spec)
            made: dict[str, Vector] = {}
            if change.may_encode(spec):
                seen = await self._read(tenant, collection_id, collection, draft.id, frozenset())
                made = await self._embed(plan_update(change, seen, spec))
            twin = await self._twin(tenant, collection, draft, mask)
            async with self._catalog.exclusively(tenant, collection):
                names = frozenset(each.name for each in spec.vector_fields)
                stored = await self._read(tenant, collection_id, collection, draft.id, names)
                plan = plan_update(change, stored, spec)
                renew = collection.settings.ttl is not None
                record = finish_update(plan, stored, made, datetime.now(UTC), renew=renew)
                if record is not None:
                    mirrored = await self._mirrored(tenant, collection, twin, stored, record)
                    if collection.other is not None and not mirrored:
                        # A gap is right as long as the other side does not answer yet.
                        await self._catalog.confirm(tenant, collection, now=True)
                    await self._store.upsert(tenant, collection, [record], mirrored=mirrored)
            return replace(record or stored, vectors={})

        return await self._catalog.using(tenant, collection_id, work)

    async def _read(
        self,
        tenant: str,
        collection_id: str,
        collection: StoredCollection,
        entity_id: str,
        vectors: frozenset[str],
    ) -> EntityRecord:
        found = await self._store.get(
            tenant,
            collection,
            [entity_id],
            projection=Projection(vectors=vectors),
            freshness=_STRONG,
        )
        if entity_id not in found:
            raise missing_entity(collection_id, entity_id)
        return found[entity_id]

    async def _twin(
        self, tenant: str, collection: StoredCollection, draft: EntityDraft, mask: Sequence[str]
    ) -> _Twin | None:
        """Return the change for the other side of a migration; None where it has to be a gap."""
        other = collection.other
        if other is None:
            return None
        vectors = translated(draft.vectors, collection.spec, other.spec)
        if draft.vectors and len(vectors) < len(other.spec.vector_fields):
            return None
        paths = [each for each in mask if each.partition(".")[0] != "vectors"]
        paths += [f"vectors.{each}" for each in vectors] if mask else []
        made: dict[str, Vector] = {}
        try:
            change = read_change(replace(draft, vectors=vectors), paths, other.spec)
            if change.may_encode(other.spec):
                seen = await self._read(tenant, "", other, draft.id, frozenset())
                made = await self._embed(plan_update(change, seen, other.spec))
        except LookalikeError:
            return None
        return _Twin(change, made)

    async def _mirrored(
        self,
        tenant: str,
        collection: StoredCollection,
        twin: _Twin | None,
        stored: EntityRecord,
        record: EntityRecord,
    ) -> list[EntityRecord]:
        """Return what the other side gets where `record` replaces `stored`: one entity or none."""
        other = collection.other
        if other is None or twin is None:
            return []
        names = frozenset(each.name for each in other.spec.vector_fields)
        try:
            there = await self._read(tenant, "", other, stored.id, names)
            if not in_step(stored, there):
                return []
            plan = plan_update(twin.change, there, other.spec)
            changed = finish_update(plan, there, twin.made, datetime.now(UTC)) or there
        except LookalikeError:
            return []
        return [replace(record, attributes=changed.attributes, vectors=changed.vectors)]

    async def _embed(self, plan: PlannedUpdate) -> dict[str, Vector]:
        made: dict[str, Vector] = {}
        answers = await embed(self._encoder, plan.encodings)
        for each, answer in zip(plan.encodings, answers, strict=True):
            if isinstance(answer, LookalikeError):
                raise answer
            made[each.field.name] = answer
        return made
