"""`lookalike.search.v1.CollectionService`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf import empty_pb2

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import collection_service_pb2 as pb
from lookalike_common.context import current_context
from lookalike_search.commands.aliases import Aliases
from lookalike_search.commands.collection_changes import CollectionChanges
from lookalike_search.commands.collections import Collections
from lookalike_search.commands.migrations import Migrations
from lookalike_search.convert.collections import (
    alias_id_of,
    from_create,
    from_start,
    from_update,
    to_alias,
    to_collection,
)
from lookalike_search.convert.entities import collection_id_of

SERVICE: Final = "lookalike.search.v1.CollectionService"

_PAGE: Final = 100


class CollectionServicer:
    """Answers from the collections' commands."""

    def __init__(
        self,
        collections: Collections,
        changes: CollectionChanges,
        aliases: Aliases,
        migrations: Migrations,
        backend: Callable[[], str],
    ) -> None:
        self._collections = collections
        self._changes = changes
        self._aliases = aliases
        self._migrations = migrations
        self._backend = backend

    async def CreateCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.CreateCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Create a collection, bound to its encoders."""
        view = await self._collections.create(current_context().tenant, from_create(request))
        return to_collection(view, self._backend())

    async def GetCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.GetCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Get one collection."""
        view = await self._collections.get(
            current_context().tenant, collection_id_of(request.name, "name")
        )
        return to_collection(view, self._backend())

    async def ListCollections(  # noqa: N802 - the name of the rpc
        self, request: pb.ListCollectionsRequest, _context: object
    ) -> pb.ListCollectionsResponse:
        """List a page of collections."""
        views, token = await self._collections.list(
            current_context().tenant,
            page_size=request.page_size or _PAGE,
            page_token=request.page_token,
        )
        return pb.ListCollectionsResponse(
            collections=[to_collection(each, self._backend()) for each in views],
            next_page_token=token,
        )

    async def UpdateCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.UpdateCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Change some fields of a collection."""
        view = await self._changes.update(current_context().tenant, *from_update(request))
        return to_collection(view, self._backend())

    async def LoadCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.LoadCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Bring a collection into memory."""
        view = await self._changes.load(
            current_context().tenant, collection_id_of(request.name, "name"), request.etag
        )
        return to_collection(view, self._backend())

    async def ReleaseCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.ReleaseCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Take a collection out of memory."""
        view = await self._changes.release(
            current_context().tenant, collection_id_of(request.name, "name"), request.etag
        )
        return to_collection(view, self._backend())

    async def OptimizeCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.OptimizeCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        """Put a collection's storage in order."""
        view = await self._changes.optimize(
            current_context().tenant, collection_id_of(request.name, "name")
        )
        return to_collection(view, self._backend())

    async def DeleteCollection(  # noqa: N802 - the name of the rpc
        self, request: pb.DeleteCollectionRequest, _context: object
    ) -> empty_pb2.Empty:
        """Delete a collection."""
        await self._collections.delete(
            current_context().tenant, collection_id_of(request.name, "name"), request.etag
        )
        return empty_pb2.Empty()

    async def SetAlias(  # noqa: N802 - the name of the rpc
        self, request: pb.SetAliasRequest, _context: object
    ) -> collection_pb2.Alias:
        """Create or move an alias."""
        alias = await self._aliases.set(
            current_context().tenant,
            alias_id_of(request.alias.name),
            collection_id_of(request.alias.collection, "alias.collection"),
            request.alias.etag,
        )
        return to_alias(alias)

    async def DeleteAlias(  # noqa: N802 - the name of the rpc
        self, request: pb.DeleteAliasRequest, _context: object
    ) -> empty_pb2.Empty:
        """Delete an alias."""
        await self._aliases.delete(
            current_context().tenant, alias_id_of(request.name), request.etag
        )
        return empty_pb2.Empty()

    async def ListAliases(  # noqa: N802 - the name of the rpc
        self, request: pb.ListAliasesRequest, _context: object
    ) -> pb.ListAliasesResponse:
        """List a page of aliases."""
        aliases, token = await self._aliases.list(
            current_context().tenant,
            page_size=request.page_size or _PAGE,
            page_token=request.page_token,
        )
        return pb.ListAliasesResponse(
            aliases=[to_alias(each) for each in aliases], next_page_token=token
        )

    async def StartMigration(  # noqa: N802 - the name of the rpc
        self, request: pb.StartMigrationRequest, _context: object
    ) -> collection_pb2.Collection:
        """Build a migration's target."""
        view = await self._migrations.start(
            current_context().tenant,
            collection_id_of(request.name, "name"),
            from_start(request),
            request.target_id,
            request.etag,
        )
        return to_collection(view, self._backend())

    async def FinishMigration(  # noqa: N802 - the name of the rpc
        self, request: pb.FinishMigrationRequest, _context: object
    ) -> collection_pb2.Collection:
        """Let a migration's target answer, or drop the older side."""
        view = await self._migrations.finish(
            current_context().tenant, collection_id_of(request.name, "name"), request.etag
        )
        return to_collection(view, self._backend())

    async def AbortMigration(  # noqa: N802 - the name of the rpc
        self, request: pb.AbortMigrationRequest, _context: object
    ) -> collection_pb2.Collection:
        """Go back, and drop a migration's target."""
        view = await self._migrations.abort(
            current_context().tenant,
            collection_id_of(request.name, "name"),
            request.etag,
            force=request.force,
        )
        return to_collection(view, self._backend())
