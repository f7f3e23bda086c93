"""`lookalike.search.v1.EntityService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, ParamSpec, TypeVar

from lookalike.search.v1 import entity_pb2
from lookalike.search.v1 import entity_service_pb2 as pb
from lookalike.type.v1 import vector_pb2
from lookalike_common.context import current_context
from lookalike_common.errors import LookalikeError
from lookalike_common.ids import parse_name
from lookalike_common.validation import RequestValidator
from lookalike_search.commands.entities import Entities
from lookalike_search.commands.streams import Batch, UpsertStreams
from lookalike_search.commands.updates import Updates
from lookalike_search.commands.upserts import Upserts
from lookalike_search.convert.entities import (
    collection_id_of,
    entity_ids_of,
    errors_in_entity,
    from_entities,
    from_selectors,
    from_update,
    to_batch_response,
    to_entity,
    to_stream_response,
    to_upsert_response,
)
from lookalike_search.writing import EntityDraft

SERVICE: Final = "lookalike.search.v1.EntityService"

_PAGE: Final = 100
_OFF_LOOP: Final = 64
"""Entities whose conversion would hold up the event loop."""

Args = ParamSpec("Args")
Result = TypeVar("Result")


class EntityServicer:
    """Answers from the entities' commands."""

    def __init__(
        self,
        entities: Entities,
        upserts: Upserts,
        updates: Updates,
        streams: UpsertStreams,
        validator: RequestValidator,
    ) -> None:
        self._entities = entities
        self._upserts = upserts
        self._updates = updates
        self._streams = streams
        self._check = validator.check

    async def UpsertEntities(  # noqa: N802 - the name of the rpc
        self, request: pb.UpsertEntitiesRequest, _context: object
    ) -> pb.UpsertEntitiesResponse:
        """Write entities."""
        collection_id = collection_id_of(request.collection)
        drafts = await self._drafts(request, collection_id)
        report = await self._upserts.upsert(
            current_context().tenant, collection_id, drafts, request.encoder_fingerprints
        )
        return to_upsert_response(report, collection_id)

    async def StreamUpsertEntities(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[pb.UpsertEntitiesRequest], _context: object
    ) -> AsyncIterator[pb.UpsertEntitiesResponse]:
        """Write one batch after the other."""
        async with aclosing(self._batches(requests)) as batches:
            answers = self._streams.run(current_context().tenant, batches)
            async with aclosing(answers):
                async for answer in answers:
                    yield to_stream_response(answer)

    async def UpdateEntity(  # noqa: N802 - the name of the rpc
        self, request: pb.UpdateEntityRequest, _context: object
    ) -> entity_pb2.Entity:
        """Change some fields of an entity."""
        with errors_in_entity():
            collection_id, draft, mask = from_update(request)
            tenant = current_context().tenant
            updated = await self._updates.update(tenant, collection_id, draft, mask)
        return to_entity(updated, collection_id, vector_pb2.VECTOR_FORMAT_UNSPECIFIED)

    async def GetEntity(  # noqa: N802 - the name of the rpc
        self, request: pb.GetEntityRequest, _context: object
    ) -> entity_pb2.Entity:
        """Get one entity."""
        collection_id, entity_id = parse_name(request.name, "collections", "entities")
        [found] = await self._entities.get(
            current_context().tenant, collection_id, [entity_id], request.output_fields
        )
        if isinstance(found, LookalikeError):
            raise found
        return to_entity(found, collection_id, request.vector_format)

    async def BatchGetEntities(  # noqa: N802 - the name of the rpc
        self, request: pb.BatchGetEntitiesRequest, _context: object
    ) -> pb.BatchGetEntitiesResponse:
        """Get some entities."""
        collection_id = collection_id_of(request.collection)
        ids = entity_ids_of(request.names, collection_id, "names")
        found = await self._entities.get(
            current_context().tenant, collection_id, ids, request.output_fields
        )
        return await _convert(
            len(found), to_batch_response, found, collection_id, request.vector_format
        )

    async def ListEntities(  # noqa: N802 - the name of the rpc
        self, request: pb.ListEntitiesRequest, _context: object
    ) -> pb.ListEntitiesResponse:
        """List a page of entities."""
        collection_id = collection_id_of(request.collection)
        page, token = await self._entities.list(
            current_context().tenant,
            collection_id,
            filter_text=request.filter,
            page_size=request.page_size or _PAGE,
            page_token=request.page_token,
            output_fields=request.output_fields,
        )
        return pb.ListEntitiesResponse(
            entities=[to_entity(each, collection_id, request.vector_format) for each in page],
            next_page_token=token,
        )

    async def CountEntities(  # noqa: N802 - the name of the rpc
        self, request: pb.CountEntitiesRequest, _context: object
    ) -> pb.CountEntitiesResponse:
        """Count entities."""
        count = await self._entities.count(
            current_context().tenant, collection_id_of(request.collection), request.filter
        )
        return pb.CountEntitiesResponse(count=count)

    async def DeleteEntities(  # noqa: N802 - the name of the rpc
        self, request: pb.DeleteEntitiesRequest, _context: object
    ) -> pb.DeleteEntitiesResponse:
        """Delete entities by name, item or filter."""
        collection_id = collection_id_of(request.collection)
        where = (current_context().tenant, collection_id)
        only = request.validate_only
        if request.names:
            ids = entity_ids_of(request.names, collection_id, "names")
            count = await self._entities.delete_ids(*where, ids, validate_only=only)
        elif request.items:
            selectors = from_selectors(request.items, collection_id)
            count = await self._entities.delete_items(*where, selectors, validate_only=only)
        else:
            count = await self._entities.delete_matching(*where, request.filter, validate_only=only)
        return pb.DeleteEntitiesResponse(count=count)

    async def _batches(
        self, requests: AsyncIterator[pb.UpsertEntitiesRequest]
    ) -> AsyncGenerator[Batch, None]:
        """Yield a stream's batches, of which the first one names the collection for the rest."""
        name = ""
        async for request in requests:
            name = request.collection or name
            collection_id = collection_id_of(name)
            drafts = await self._drafts(request, collection_id)
            yield Batch(collection_id, drafts, request.encoder_fingerprints)

    async def _drafts(
        self, request: pb.UpsertEntitiesRequest, collection_id: str
    ) -> list[EntityDraft | LookalikeError]:
        """Return what is to be written; the rules of each entity are checked for itself."""
        return await _convert(
            len(request.entities), from_entities, request.entities, collection_id, self._check
        )


async def _convert(
    entities: int, convert: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """Convert here, or in a thread where it takes long."""
    if entities <= _OFF_LOOP:
        return convert(*args, **kwargs)
    return await asyncio.to_thread(convert, *args, **kwargs)
