"""Finds what one query looks for, whatever that is, up to a limit."""

from __future__ import annotations

from lookalike_search.commands.examples import Lookup, Target
from lookalike_search.commands.merging import Window
from lookalike_search.commands.plan import Plan
from lookalike_search.commands.structures import Structural, Structures
from lookalike_search.model import Projection
from lookalike_search.store import VectorStore


class Windows:
    """Searches the store for one target."""

    def __init__(self, store: VectorStore, structures: Structures) -> None:
        self._store = store
        self._structures = structures

    async def find(
        self, tenant: str, plan: Plan, target: Target, limit: int, projection: Projection
    ) -> Window:
        """Return the nearest `limit` entities that match the plan's filter."""
        match target:
            case Structural():
                return await self._structures.find(tenant, plan, target, limit, projection)
            case Lookup():
                found = await self._store.keyword_search(
                    tenant,
                    plan.collection,
                    target.attribute,
                    target.words,
                    limit=limit,
                    where=plan.where,
                    projection=projection,
                    freshness=plan.freshness,
                )
            case _:
                found = await self._store.search(
                    tenant,
                    plan.collection,
                    target.field.name,
                    target.vector,
                    limit=limit,
                    where=plan.where,
                    projection=projection,
                    freshness=plan.freshness,
                    params=plan.params,
                )
        return Window(neighbors=found, exhausted=len(found) < limit)
