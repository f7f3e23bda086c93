"""Changes some fields of an entity, encoding only what has to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from lookalike_common.errors import LookalikeError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.embedding import embed
from lookalike_search.commands.entities import missing_entity
from lookalike_search.encoding import EncoderPort
from lookalike_search.model import (
    Consistency,
    EntityRecord,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.updating import (
    PlannedUpdate,
    finish_update,
    plan_update,
    read_change,
)
from lookalike_search.writing import EntityDraft

_STRONG: Final = Freshness(consistency=Consistency.STRONG)


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
            change = read_change(draft, mask, spec)
            made: dict[str, Vector] = {}
            if change.may_encode(spec):
                seen = await self._read(tenant, collection_id, collection, draft.id, frozenset())
                made = await self._embed(plan_update(change, seen, spec))
            async with self._store.exclusive(tenant, collection):
                names = frozenset(each.name for each in spec.vector_fields)
                stored = await self._read(tenant, collection_id, collection, draft.id, names)
                plan = plan_update(change, stored, spec)
                renew = collection.settings.ttl is not None
                record = finish_update(plan, stored, made, datetime.now(UTC), renew=renew)
                if record is not None:
                    await self._store.upsert(tenant, collection, [record])
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

    async def _embed(self, plan: PlannedUpdate) -> dict[str, Vector]:
        made: dict[str, Vector] = {}
        answers = await embed(self._encoder, plan.encodings)
        for each, answer in zip(plan.encodings, answers, strict=True):
            if isinstance(answer, LookalikeError):
                raise answer
            made[each.field.name] = answer
        return made
