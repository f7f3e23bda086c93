"""Sets, deletes and lists aliases of collections."""

from __future__ import annotations

from lookalike_search.catalog import Catalog
from lookalike_search.model import Alias
from lookalike_search.pages import read_after, token_after
from lookalike_search.store import VectorStore


class Aliases:
    """The commands for aliases."""

    def __init__(self, store: VectorStore, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def set(self, tenant: str, alias_id: str, collection_id: str, etag: str) -> Alias:
        """Create or move an alias; where `collection_id` is an alias, to what that stands for."""
        self._catalog.forget(tenant, collection_id)
        collection = await self._catalog.resolve(tenant, collection_id)
        try:
            return await self._store.set_alias(tenant, alias_id, collection.spec.id, etag)
        finally:
            self._catalog.forget(tenant, alias_id)

    async def delete(self, tenant: str, alias_id: str, etag: str) -> None:
        """Delete an alias."""
        try:
            await self._store.delete_alias(tenant, alias_id, etag)
        finally:
            self._catalog.forget(tenant, alias_id)

    async def list(
        self, tenant: str, *, page_size: int, page_token: str
    ) -> tuple[list[Alias], str]:
        """Return a page of aliases by id, and the next page's token or nothing."""
        bound = ("aliases", tenant)
        after = read_after(page_token, *bound)
        found = [each for each in await self._store.list_aliases(tenant) if each.id > after]
        page = found[:page_size]
        return page, token_after(page[-1].id, *bound) if len(found) > len(page) else ""
