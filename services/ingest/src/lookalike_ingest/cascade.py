"""Entities go with the asset that they were made from.

A deletion is kept before anything is deleted, and forgotten when no collection has such entities
any more. Until then it is tried again: nothing stays because the search service was away, or a
collection released. It carries the time of the request as a generation, so what was uploaded and
ingested anew since then is not touched.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lookalike_common.context import RequestContext, current_context, use_context
from lookalike_common.errors import LookalikeError, NotFoundError
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.batches.patience import TRANSIENT

_LOG = logging.getLogger(__name__)
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Deletion:
    """An asset whose entities are to go."""

    tenant: str
    sha256: str
    generation: int
    """Entities of later ones stay."""


class DeletionStore(Protocol):
    """Deletions that are not done everywhere."""

    async def add_deletion(self, tenant: str, sha256: str) -> Deletion:
        """Keep one, of all generations until now."""

    async def list_deletions(self, limit: int) -> Sequence[Deletion]:
        """Return some, oldest first."""

    async def end_deletion(self, deletion: Deletion) -> None:
        """Forget one, unless the asset was deleted again meanwhile."""


class MadeEntities(Protocol):
    """Entities by the asset that they were made from."""

    def list_collections(self) -> AsyncIterator[str]:
        """Yield the names of the tenant's collections."""

    async def delete_made_from(self, collection: str, asset: str, last_generation: int) -> int:
        """Delete entities made from `assets/{asset}`, up to a generation; return how many."""


class Cascade:
    """Deletes the entities of deleted assets."""

    def __init__(self, store: DeletionStore, entities: MadeEntities) -> None:
        self._store = store
        self._entities = entities

    async def begin(self, tenant: str, sha256: str) -> Deletion:
        """Make sure that the entities will go."""
        return await self._store.add_deletion(tenant, sha256)

    async def go_on(self) -> None:
        """Try again what was left; the most patient ones first."""
        for deletion in await self._store.list_deletions(_AT_ONCE):
            await self.run(deletion)

    async def run(self, deletion: Deletion) -> None:
        """Delete what can be reached now; the rest waits for the next try."""
        context = RequestContext(request_id=current_context().request_id, tenant=deletion.tenant)
        with use_context(context):
            try:
                done = await self._delete_everywhere(deletion)
            except TRANSIENT as error:
                _LOG.warning("entities of a deleted asset go later: %s", error.message)
                return
        if done:
            await self._store.end_deletion(deletion)

    async def _delete_everywhere(self, deletion: Deletion) -> bool:
        """Go through all collections; tell whether each of them could be reached."""
        done = True
        asset = asset_name(deletion.sha256)
        async for collection in self._entities.list_collections():
            try:
                await self._entities.delete_made_from(collection, asset, deletion.generation)
            except NotFoundError:  # the collection went meanwhile
                continue
            except LookalikeError as error:
                _LOG.warning("entities in %s go later: %s", collection, error.message)
                done = False
        return done
