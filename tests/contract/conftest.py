"""The store under test."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.model import (
    AttributeSpec,
    CollectionSettings,
    CollectionSpec,
    IndexSpec,
    Metric,
    StoredCollection,
    VectorFieldSpec,
)
from lookalike_search.store import VectorStore

_numbers = itertools.count()


@pytest.fixture
async def store(milvus_uri: str) -> AsyncIterator[MilvusStore]:
    async with MilvusStore(milvus_uri) as opened:
        assert await opened.wait_until_available(timedelta(seconds=30))
        yield opened


@pytest.fixture
async def other_store(milvus_uri: str) -> AsyncIterator[MilvusStore]:
    """Another process's view of the same Milvus."""
    async with MilvusStore(milvus_uri) as opened:
        assert await opened.wait_until_available(timedelta(seconds=30))
        yield opened


@pytest.fixture
def collection_id() -> str:
    return f"c{os.getpid()}-{next(_numbers)}"


class Factory:
    """Creates collections, and drops them after the test."""

    def __init__(self, store: VectorStore, collection_id: str) -> None:
        self._store = store
        self._id = collection_id
        self._made: list[tuple[str, StoredCollection]] = []

    def spec(
        self,
        *,
        collection_id: str = "",
        metric: Metric = Metric.COSINE,
        dimensions: int = 4,
        index: IndexSpec | None = None,
        attributes: tuple[AttributeSpec, ...] = (),
    ) -> CollectionSpec:
        return CollectionSpec(
            id=collection_id or self._id,
            uid=os.urandom(8).hex(),
            create_time=datetime.now(UTC),
            vector_fields=(
                VectorFieldSpec(
                    name="vector",
                    dimensions=dimensions,
                    metric=metric,
                    index=index or IndexSpec(),
                    encoder="encoders/toy@1",
                    fingerprint="ab" * 32,
                    space="toy@1",
                ),
            ),
            attributes=attributes,
        )

    def settings(self, revision: int = 0, description: str = "") -> CollectionSettings:
        return CollectionSettings(
            revision=revision,
            update_time=datetime.now(UTC),
            description=description,
            labels={"a": "b"},
        )

    async def create(
        self, spec: CollectionSpec | None = None, *, tenant: str = ""
    ) -> StoredCollection:
        collection = await self._store.create(tenant, spec or self.spec(), self.settings())
        self._made.append((tenant, collection))
        return collection

    async def drop_all(self) -> None:
        for tenant, collection in self._made:
            await self._store.drop(tenant, collection)


@pytest.fixture
async def factory(store: MilvusStore, collection_id: str) -> AsyncIterator[Factory]:
    made = Factory(store, collection_id)
    yield made
    await made.drop_all()
