"""The search service: the only way to the collections."""

from collections.abc import AsyncIterator, Mapping, Sequence

import grpc.aio
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_pb2,
    entity_service_pb2,
    entity_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)
from lookalike.type.v1 import outcome_pb2, vector_pb2
from lookalike_common.errors import InternalError, LookalikeError, NotFoundError
from lookalike_common.ids import WHOLE, entity_id
from lookalike_ingest.adapters.grpc_calls import error_of_one, errors_translated
from lookalike_ingest.convert.segments import to_segment
from lookalike_ingest.entities import (
    AttributeType,
    Collection,
    EntityWrite,
    GivenField,
    ListedEntity,
    StoredEntity,
    Sweep,
    VectorField,
)
from lookalike_ingest.job import Outcome
from lookalike_ingest.segments import Segment

_OUTCOMES = {
    outcome_pb2.OUTCOME_CREATED: Outcome.CREATED,
    outcome_pb2.OUTCOME_UPDATED: Outcome.UPDATED,
    outcome_pb2.OUTCOME_UNCHANGED: Outcome.UNCHANGED,
}
_DEFAULT_FIELD = "vector"
_LISTED_ENTITIES = 500
_LISTED_FIELDS = ("item", "segment", "asset", "text", "attributes", "source_uri")
_LISTED_AT_ONCE = 1000
_ATTRIBUTE_TYPES = {
    collection_pb2.AttributeField.TYPE_STRING: AttributeType.STRING,
    collection_pb2.AttributeField.TYPE_INT: AttributeType.INT,
    collection_pb2.AttributeField.TYPE_DOUBLE: AttributeType.DOUBLE,
    collection_pb2.AttributeField.TYPE_BOOL: AttributeType.BOOL,
    collection_pb2.AttributeField.TYPE_TIMESTAMP: AttributeType.TIMESTAMP,
    collection_pb2.AttributeField.TYPE_STRING_LIST: AttributeType.STRING_LIST,
    collection_pb2.AttributeField.TYPE_JSON: AttributeType.JSON,
}


class SearchClient:
    """An `EntityStore` over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._collections = collection_service_pb2_grpc.CollectionServiceStub(channel)
        self._entities = entity_service_pb2_grpc.EntityServiceStub(channel)
        self._searches = search_service_pb2_grpc.SearchServiceStub(channel)

    async def get_collection(self, name: str) -> Collection:
        """Return a collection and those of its fields that an encoder fills."""
        with errors_translated():
            reply = await self._collections.GetCollection(
                collection_service_pb2.GetCollectionRequest(name=name)
            )
        return _from_collection(name, reply)

    async def find_stored(self, collection: str, ids: Sequence[str]) -> Mapping[str, StoredEntity]:
        """Return those of the entities that exist, by id."""
        request = entity_service_pb2.BatchGetEntitiesRequest(
            collection=collection,
            names=[_entity_name(collection, each) for each in ids],
            output_fields=["content_hash", "generation"],
        )
        with errors_translated():
            reply = await self._entities.BatchGetEntities(request)
        if len(reply.results) != len(ids):
            raise InternalError("the search service answered with another number of entities")
        return {
            identifier: StoredEntity(result.entity.content_hash, result.entity.generation)
            for identifier, result in zip(ids, reply.results, strict=True)
            if result.HasField("entity")
        }

    async def upsert(
        self, collection: str, entities: Sequence[EntityWrite], fingerprints: Mapping[str, str]
    ) -> Sequence[Outcome | LookalikeError]:
        """See `EntityStore`."""
        request = entity_service_pb2.UpsertEntitiesRequest(
            collection=collection,
            entities=[_to_entity(collection, each) for each in entities],
            encoder_fingerprints=fingerprints,
        )
        with errors_translated():
            reply = await self._entities.UpsertEntities(request)
        if len(reply.results) != len(entities):
            raise InternalError("the search service answered with another number of results")
        return [_to_outcome(result) for result in reply.results]

    async def is_visible(self, collection: str, item: str, generation: int) -> bool:
        """Tell whether a search that may be a little behind finds an item in a generation.

        It is asked for by its own vector. An item that is gone is nothing to wait for.
        """
        name = _entity_name(collection, entity_id(item, WHOLE, 0))
        get = entity_service_pb2.GetEntityRequest(name=name, output_fields=["vectors"])
        try:
            with errors_translated():
                entity = await self._entities.GetEntity(get)
        except NotFoundError:
            return True
        if not entity.vectors:
            return True
        field, vector = next(iter(entity.vectors.items()))
        quoted = item.replace("\\", "\\\\").replace('"', '\\"')
        search = search_service_pb2.SearchRequest(
            collection=collection,
            queries=[search_service_pb2.Query(vector=vector, vector_field=field)],
            filter=f'item = "{quoted}"',
            output_fields=["generation"],
            consistency=search_service_pb2.CONSISTENCY_BOUNDED,
        )
        with errors_translated():
            reply = await self._searches.Search(search)
        return any(hit.entity.generation >= generation for hit in reply.hits)

    async def list_collections(self) -> AsyncIterator[str]:
        """Yield the names of the tenant's collections."""
        request = collection_service_pb2.ListCollectionsRequest()
        while True:
            with errors_translated():
                reply = await self._collections.ListCollections(request)
            for each in reply.collections:
                yield each.name
            request.page_token = reply.next_page_token
            if not request.page_token:
                return

    async def delete_made_from(self, collection: str, asset: str, last_generation: int) -> int:
        """Delete entities made from an asset, up to a generation, page by page."""
        request = entity_service_pb2.ListEntitiesRequest(
            collection=collection,
            filter=f'asset = "{asset}"',
            page_size=_LISTED_AT_ONCE,
            output_fields=["generation"],
        )
        deleted = 0
        while True:
            with errors_translated():
                page = await self._entities.ListEntities(request)
            old = [each.name for each in page.entities if each.generation <= last_generation]
            if old:
                delete = entity_service_pb2.DeleteEntitiesRequest(collection=collection, names=old)
                with errors_translated():
                    deleted += (await self._entities.DeleteEntities(delete)).count
            request.page_token = page.next_page_token
            if not request.page_token:
                return deleted

    async def list_page(
        self, collection: str, filter_text: str, token: str, vectors: Sequence[str]
    ) -> tuple[Sequence[ListedEntity], str]:
        """See `EntityStore`."""
        request = entity_service_pb2.ListEntitiesRequest(
            collection=collection,
            filter=filter_text,
            page_size=_LISTED_ENTITIES,
            page_token=token,
            output_fields=[*_LISTED_FIELDS, *(f"vectors.{name}" for name in vectors)],
        )
        with errors_translated():
            reply = await self._entities.ListEntities(request)
        return [_from_entity(each) for each in reply.entities], reply.next_page_token

    async def optimize(self, collection: str) -> None:
        """Put a collection's storage in order."""
        request = collection_service_pb2.OptimizeCollectionRequest(name=collection)
        with errors_translated():
            await self._collections.OptimizeCollection(request)

    async def sweep(self, collection: str, sweeps: Sequence[Sweep]) -> int:
        """Remove stale entities; return how many there were."""
        request = entity_service_pb2.DeleteEntitiesRequest(
            collection=collection,
            items=[
                entity_service_pb2.ItemSelector(
                    item=each.item,
                    before_generation=each.before_generation,
                    keep=[_entity_name(collection, kept) for kept in each.keep],
                )
                for each in sweeps
            ],
        )
        with errors_translated():
            reply = await self._entities.DeleteEntities(request)
        return reply.count


def _from_collection(name: str, reply: collection_pb2.Collection) -> Collection:
    return Collection(
        name=name,
        fields=[
            VectorField(
                each.name or _DEFAULT_FIELD,
                each.encoder,
                each.encoder_fingerprint,
                each.dimensions,
                each.vector_kind == vector_pb2.VECTOR_KIND_BINARY,
                each.space,
            )
            for each in reply.vector_fields
            if each.encoder
        ],
        given=[
            GivenField(
                each.name or _DEFAULT_FIELD,
                each.dimensions,
                each.vector_kind == vector_pb2.VECTOR_KIND_BINARY,
                each.space,
            )
            for each in reply.vector_fields
            if not each.encoder
        ],
        attributes={
            each.name: _ATTRIBUTE_TYPES[each.type]
            for each in reply.attributes
            if each.type in _ATTRIBUTE_TYPES
        },
        count=reply.entity_count,
        backend=reply.backend,
    )


def _from_entity(entity: entity_pb2.Entity) -> ListedEntity:
    return ListedEntity(
        id=entity.name.rpartition("/")[2],
        item=entity.item,
        index=entity.segment.index,
        whole=entity.segment.WhichOneof("span") is None,
        asset=entity.asset,
        text=entity.text,
        attributes=MessageToDict(entity.attributes),
        source_uri=entity.source_uri,
        vectors={name: each.dense.data for name, each in entity.vectors.items()},
    )


def _entity_name(collection: str, identifier: str) -> str:
    return f"{collection}/entities/{identifier}"


def _to_entity(collection: str, entity: EntityWrite) -> entity_pb2.Entity:
    message = entity_pb2.Entity(
        name=_entity_name(collection, entity.id),
        item=entity.item,
        asset=entity.asset,
        text=entity.text,
        content_hash=entity.content_hash,
        generation=entity.generation,
        source_uri=entity.source_uri,
        vectors={
            name: vector_pb2.Vector.FromString(packed) for name, packed in entity.vectors.items()
        },
    )
    if entity.segment is not None or entity.index:
        message.segment.CopyFrom(to_segment(entity.segment or Segment(), entity.index))
    if entity.attributes:
        message.attributes.CopyFrom(ParseDict(dict(entity.attributes), Struct()))
    return message


def _to_outcome(result: entity_service_pb2.UpsertResult) -> Outcome | LookalikeError:
    if result.HasField("error"):
        return error_of_one(result.error)
    return _OUTCOMES.get(result.entity.outcome, Outcome.UPDATED)
