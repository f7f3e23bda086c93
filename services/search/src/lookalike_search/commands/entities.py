"""Writes, reads, counts and deletes entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lookalike_common.errors import (
    LookalikeError,
    NotFoundError,
)
from lookalike_search.catalog import Catalog
from lookalike_search.filters import CheckedExpression, check, parse
from lookalike_search.model import (
    CollectionSpec,
    Consistency,
    EntityRecord,
    Projection,
    StoredCollection,
)
from lookalike_search.output import parse_output_fields
from lookalike_search.pages import read_after, token_after
from lookalike_search.store import Freshness, VectorStore

ENTITY: Final = "lookalike/Entity"

_STRONG: Final = Freshness(consistency=Consistency.STRONG)
_WITHOUT_VECTORS: Final = Projection()
_SYSTEM_ONLY: Final = Projection(text=False, attributes=False)
_PAGE: Final = 1000
_ITEMS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSelector:
    """The entities of one item, or what is left of its older generations."""

    item: str
    before_generation: int = 0
    """Only entities of an older generation; 0 for all."""
    keep: frozenset[str] = frozenset()
    """Ids to leave alone."""

    def selects(self, record: EntityRecord) -> bool:
        """Whether an entity is meant."""
        return (
            record.item == self.item
            and record.id not in self.keep
            and (not self.before_generation or record.generation < self.before_generation)
        )


class Entities:
    """The commands of `EntityService`."""

    def __init__(self, store: VectorStore, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def get(
        self, tenant: str, collection_id: str, ids: Sequence[str], output_fields: Sequence[str]
    ) -> list[EntityRecord | LookalikeError]:
        """Return the entities in the order of the ids; a missing one fails alone."""

        async def work(collection: StoredCollection) -> list[EntityRecord | LookalikeError]:
            mask = parse_output_fields(output_fields, collection.spec)
            found = await self._store.get(
                tenant,
                collection,
                list(dict.fromkeys(ids)),
                projection=mask.projection,
                freshness=_STRONG,
            )
            return [
                mask.apply(found[each]) if each in found else missing_entity(collection_id, each)
                for each in ids
            ]

        return await self._catalog.using(tenant, collection_id, work)

    async def list(
        self,
        tenant: str,
        collection_id: str,
        *,
        filter_text: str,
        page_size: int,
        page_token: str,
        output_fields: Sequence[str],
    ) -> tuple[list[EntityRecord], str]:
        """Return a page of entities by id, and the next page's token or nothing."""
        bound = ("entities", tenant, collection_id, filter_text)
        after = read_after(page_token, *bound)

        async def work(collection: StoredCollection) -> tuple[list[EntityRecord], str]:
            mask = parse_output_fields(output_fields, collection.spec)
            found = await self._store.scan(
                tenant,
                collection,
                limit=page_size + 1,
                after=after,
                where=checked_filter(filter_text, collection.spec),
                projection=mask.projection,
                freshness=_STRONG,
            )
            page = found[:page_size]
            token = token_after(page[-1].id, *bound) if len(found) > len(page) else ""
            return [mask.apply(each) for each in page], token

        return await self._catalog.using(tenant, collection_id, work)

    async def count(self, tenant: str, collection_id: str, filter_text: str) -> int:
        """Return how many entities match."""

        async def work(collection: StoredCollection) -> int:
            where = checked_filter(filter_text, collection.spec)
            return await self._store.count(tenant, collection, where)

        return await self._catalog.using(tenant, collection_id, work)

    async def delete_ids(
        self, tenant: str, collection_id: str, ids: Sequence[str], *, validate_only: bool
    ) -> int:
        """Delete entities by id and return how many there were."""

        async def work(collection: StoredCollection) -> int:
            async with self._catalog.exclusively(tenant, collection):
                found = await self._store.get(
                    tenant,
                    collection,
                    list(dict.fromkeys(ids)),
                    projection=_SYSTEM_ONLY,
                    freshness=_STRONG,
                )
                return await self._delete(tenant, collection, found, validate_only=validate_only)

        return await self._catalog.using(tenant, collection_id, work)

    async def delete_matching(
        self, tenant: str, collection_id: str, filter_text: str, *, validate_only: bool
    ) -> int:
        """Delete what matches a filter and return how much there was."""

        async def work(collection: StoredCollection) -> int:
            where = checked_filter(filter_text, collection.spec)
            return await self._delete_scanned(
                tenant, collection, lambda _: True, where=where, validate_only=validate_only
            )

        return await self._catalog.using(tenant, collection_id, work)

    async def delete_items(
        self,
        tenant: str,
        collection_id: str,
        selectors: Sequence[ItemSelector],
        *,
        validate_only: bool,
    ) -> int:
        """Delete whole items, or their older generations, and return how many entities it were."""

        async def work(collection: StoredCollection) -> int:
            total = 0
            for start in range(0, len(selectors), _ITEMS_AT_ONCE):
                some = selectors[start : start + _ITEMS_AT_ONCE]
                total += await self._delete_scanned(
                    tenant,
                    collection,
                    _selected_by(some),
                    items=list(dict.fromkeys(each.item for each in some)),
                    validate_only=validate_only,
                )
            return total

        return await self._catalog.using(tenant, collection_id, work)

    async def _delete_scanned(
        self,
        tenant: str,
        collection: StoredCollection,
        selects: Callable[[EntityRecord], bool],
        *,
        where: CheckedExpression | None = None,
        items: Sequence[str] = (),
        validate_only: bool,
    ) -> int:
        """Go through what matches, page by page, and delete what is selected."""
        total = 0
        after = ""
        while True:
            async with self._catalog.exclusively(tenant, collection):
                page = await self._store.scan(
                    tenant,
                    collection,
                    limit=_PAGE,
                    after=after,
                    where=where,
                    items=items,
                    projection=_SYSTEM_ONLY,
                    freshness=_STRONG,
                )
                total += await self._delete(
                    tenant,
                    collection,
                    [each.id for each in page if selects(each)],
                    validate_only=validate_only,
                )
            if len(page) < _PAGE:
                return total
            after = page[-1].id

    async def _delete(
        self,
        tenant: str,
        collection: StoredCollection,
        ids: Iterable[str],
        *,
        validate_only: bool,
    ) -> int:
        found = list(ids)
        if found and not validate_only:
            await self._store.delete(tenant, collection, found)
        return len(found)


def checked_filter(text: str, spec: CollectionSpec) -> CheckedExpression | None:
    """Parse and check a filter; None for the empty one. Raises `InvalidFilterError`."""
    if not text.strip():
        return None
    return check(parse(text), {each.name: each.type for each in spec.attributes})


def _selected_by(selectors: Sequence[ItemSelector]) -> Callable[[EntityRecord], bool]:
    by_item: dict[str, list[ItemSelector]] = {}
    for each in selectors:
        by_item.setdefault(each.item, []).append(each)
    return lambda record: any(each.selects(record) for each in by_item.get(record.item, ()))


def missing_entity(collection_id: str, entity_id: str) -> NotFoundError:
    """Return what is raised for an entity that is not there."""
    return NotFoundError(
        "there is no such entity",
        resource_type=ENTITY,
        resource_name=f"collections/{collection_id}/entities/{entity_id}",
    )
