from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from lookalike_common.errors import NotFoundError
from lookalike_search.catalog import COLLECTION, Catalog
from lookalike_search.model import CollectionSettings, CollectionSpec, StoredCollection
from lookalike_search.store import VectorStore

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass
class Resolver:
    """The part of a store that a catalog uses, and its clock."""

    incarnation: int = 1
    time: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def resolve(self, tenant: str, collection_id: str) -> StoredCollection:
        self.asked.append((tenant, collection_id))
        return StoredCollection(
            spec=CollectionSpec(id=collection_id, uid="u", create_time=NOW, vector_fields=()),
            settings=CollectionSettings(revision=0, update_time=NOW),
            storage=f"s{self.incarnation}",
        )

    def catalog(self) -> Catalog:
        return Catalog(cast(VectorStore, self), clock=lambda: self.time)


async def test_remembers_for_two_seconds() -> None:
    resolver = Resolver()
    catalog = resolver.catalog()
    for now in (0.0, 1.0, 1.99):
        resolver.time = now
        await catalog.resolve("t", "c")
    assert len(resolver.asked) == 1
    resolver.time = 2.0
    await catalog.resolve("t", "c")
    assert len(resolver.asked) == 2


async def test_tenants_are_apart() -> None:
    resolver = Resolver()
    catalog = resolver.catalog()
    for tenant in ("", "a", "b", "a"):
        await catalog.resolve(tenant, "c")
    assert resolver.asked == [("", "c"), ("a", "c"), ("b", "c")]


async def test_what_is_gone_is_resolved_again_once() -> None:
    resolver = Resolver()
    catalog = resolver.catalog()
    used: list[str] = []

    async def work(collection: StoredCollection) -> str:
        used.append(collection.storage)
        if collection.storage != f"s{resolver.incarnation}":
            raise NotFoundError("gone", resource_type=COLLECTION)
        return collection.storage

    assert await catalog.using("", "c", work) == "s1"
    resolver.incarnation = 2
    assert await catalog.using("", "c", work) == "s2"
    assert used == ["s1", "s1", "s2"]


async def test_other_things_that_are_missing_are_not_retried() -> None:
    resolver = Resolver()
    catalog = resolver.catalog()
    for resource_type in ("lookalike/Entity", COLLECTION):
        used: list[str] = []

        async def work(collection: StoredCollection, kind: str = resource_type) -> None:
            used.append(collection.storage)  # noqa: B023 - used at once
            raise NotFoundError("gone", resource_type=kind)

        with pytest.raises(NotFoundError):
            await catalog.using("", "c", work)
        assert used == ["s1"]
