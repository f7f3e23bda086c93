"""Fills the side of a migrating collection that does not answer yet, from the one that does.

Whoever re-embeds a collection reads its entities, encodes them anew, and writes them to the target.
Here both sides' writers are held off while an entity is compared with what the collection has now:
so an entity that was deleted or rewritten meanwhile is refused, and nothing old comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lookalike_common.errors import InternalError, InvalidArgumentError, LookalikeError
from lookalike_search.catalog import Catalog, StaleViewError
from lookalike_search.commands.embedding import embed
from lookalike_search.encoding import EncoderPort
from lookalike_search.mirroring import in_step, prepare_backfill
from lookalike_search.model import (
    Consistency,
    EntityRecord,
    Outcome,
    Projection,
    StoredCollection,
    Vector,
)
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.writing import Encoding, EntityDraft, WriteReport, Written

_STRONG: Final = Freshness(consistency=Consistency.STRONG)
_WITHOUT_VECTORS: Final = Projection()


@dataclass(slots=True)
class _Round:
    """What one look at both sides leads to."""

    results: dict[str, Written | LookalikeError] = field(default_factory=dict)
    waiting: list[tuple[EntityDraft, Sequence[Encoding]]] = field(default_factory=list)
    """Drafts that need vectors first."""
    records: list[EntityRecord] = field(default_factory=list)
    position: int = 0


class Backfills:
    """Writes to the target of a migration."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def write(
        self,
        tenant: str,
        target: StoredCollection,
        drafts: Sequence[EntityDraft | LookalikeError],
    ) -> WriteReport:
        """Write entities as the migrating collection has them, each with vectors of its own.

        An entity that this has no longer, or in another generation, fails alone.
        """
        results: dict[str, Written | LookalikeError] = {}
        last = {each.id: each for each in drafts if isinstance(each, EntityDraft)}
        last.pop("", None)
        done = await self._write_round(tenant, target, list(last.values()))
        results |= done.results
        position = done.position
        if done.waiting:
            encoded, failed = await self._encode(done.waiting)
            done = await self._write_round(tenant, target, encoded)
            results |= failed | done.results
            position = max(position, done.position)
        if done.waiting:
            raise InternalError("an encoded entity still lacks a vector")
        return WriteReport([_result(each, results) for each in drafts], position)

    async def _write_round(
        self, tenant: str, target: StoredCollection, drafts: Sequence[EntityDraft]
    ) -> _Round:
        """Write what has its vectors; return the results, and the drafts that need some."""
        live = target.other
        if live is None:
            raise StaleViewError("the migration has ended")
        ids = [each.id for each in drafts]
        async with self._catalog.exclusively(tenant, target):
            ruling = await self._stored(tenant, live, ids)
            done = _decide_all(drafts, ruling, await self._stored(tenant, target, ids), target)
            if done.records:
                done.position = await self._store.upsert(tenant, target, done.records)
        return done

    async def _stored(
        self, tenant: str, side: StoredCollection, ids: Sequence[str]
    ) -> dict[str, EntityRecord]:
        return await self._store.get(
            tenant, side, ids, projection=_WITHOUT_VECTORS, freshness=_STRONG
        )

    async def _encode(
        self, waiting: Sequence[tuple[EntityDraft, Sequence[Encoding]]]
    ) -> tuple[list[EntityDraft], dict[str, LookalikeError]]:
        """Give drafts the vectors that they lack; what cannot be encoded fails alone."""
        vectors: dict[str, dict[str, Vector]] = {each.id: dict(each.vectors) for each, _ in waiting}
        failed: dict[str, LookalikeError] = {}
        wanted = [(each.id, lack) for each, missing in waiting for lack in missing]
        answers = await embed(self._encoder, [lack for _, lack in wanted])
        for (key, lack), answer in zip(wanted, answers, strict=True):
            if isinstance(answer, LookalikeError):
                failed[key] = answer
            else:
                vectors[key][lack.field.name] = answer
        encoded = [
            replace(each, vectors=vectors[each.id]) for each, _ in waiting if each.id not in failed
        ]
        return encoded, failed


def _decide_all(
    drafts: Sequence[EntityDraft],
    ruling: dict[str, EntityRecord],
    stored: dict[str, EntityRecord],
    target: StoredCollection,
) -> _Round:
    done = _Round()
    for each in drafts:
        live, twin = ruling.get(each.id), stored.get(each.id)
        try:
            prepared = prepare_backfill(each, live, target.spec)
        except LookalikeError as error:
            done.results[each.id] = error
            continue
        if in_step(live, twin):
            done.results[each.id] = Written(each.id, Outcome.UNCHANGED)
        elif prepared.missing:
            done.waiting.append((each, prepared.missing))
        else:
            outcome = Outcome.UPDATED if twin is not None else Outcome.CREATED
            done.results[each.id] = Written(each.id, outcome)
            done.records.append(prepared.record)
    return done


def _result(
    draft: EntityDraft | LookalikeError, results: dict[str, Written | LookalikeError]
) -> Written | LookalikeError:
    if isinstance(draft, LookalikeError):
        return draft
    if not draft.id:
        return InvalidArgumentError(
            "is needed: only entities of the migrating collection can be written", field="name"
        )
    return results[draft.id]
