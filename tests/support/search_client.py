"""The stubs of a running search service, and short ways to say what tests keep saying."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import ParseDict
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
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import LookalikeError
from lookalike_common.status import error_from_rpc, error_from_status

_numbers = itertools.count()

Attribute = collection_pb2.AttributeField
ATTRIBUTES = (
    Attribute(name="color", type=Attribute.TYPE_STRING, filterable=True, nullable=True),
    Attribute(name="price", type=Attribute.TYPE_INT, filterable=True, nullable=True),
    Attribute(name="weight", type=Attribute.TYPE_DOUBLE, filterable=True, nullable=True),
    Attribute(name="sold", type=Attribute.TYPE_BOOL, filterable=True, nullable=True),
    Attribute(name="taken", type=Attribute.TYPE_TIMESTAMP, filterable=True, nullable=True),
    Attribute(name="tags", type=Attribute.TYPE_STRING_LIST, nullable=True),
)
"""One attribute of each type that a filter can name."""


class SearchClient:
    """One channel's stubs; `collections`, `entities` and `search` are the generated ones."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # Any: the generated stubs know either the synchronous or the asynchronous channel.
        self.collections: Any = collection_service_pb2_grpc.CollectionServiceStub(channel)
        self.entities: Any = entity_service_pb2_grpc.EntityServiceStub(channel)
        self.searches: Any = search_service_pb2_grpc.SearchServiceStub(channel)

    async def create(
        self,
        *fields: collection_pb2.VectorField,
        attributes: Sequence[collection_pb2.AttributeField] = (),
        collection_id: str = "",
        **rest: Any,
    ) -> str:
        """Create a collection and return its name; by default one field of three dimensions."""
        request = collection_service_pb2.CreateCollectionRequest(
            collection_id=collection_id or f"t{os.getpid()}-{next(_numbers)}",
            collection=collection_pb2.Collection(
                vector_fields=fields or [plain_field()], attributes=attributes, **rest
            ),
        )
        created: collection_pb2.Collection = await self.collections.CreateCollection(request)
        return created.name

    async def upsert(
        self, collection: str, *entities: entity_pb2.Entity
    ) -> entity_service_pb2.UpsertEntitiesResponse:
        """Write entities; errors of single ones are in the reply."""
        request = entity_service_pb2.UpsertEntitiesRequest(collection=collection, entities=entities)
        reply: entity_service_pb2.UpsertEntitiesResponse = await self.entities.UpsertEntities(
            request
        )
        return reply

    async def search(
        self, collection: str, *queries: search_service_pb2.Query, **options: Any
    ) -> search_service_pb2.SearchResponse:
        """Search with the given queries; without another wish it sees all writes."""
        options.setdefault("top_k", 10)
        if "consistency_token" not in options:
            options.setdefault("consistency", search_service_pb2.CONSISTENCY_STRONG)
        request = search_service_pb2.SearchRequest(collection=collection, queries=queries)
        request.MergeFrom(search_service_pb2.SearchRequest(**options))
        reply: search_service_pb2.SearchResponse = await self.searches.Search(request)
        return reply

    async def get(self, name: str, **options: Any) -> entity_pb2.Entity:
        """Get an entity by its name."""
        request = entity_service_pb2.GetEntityRequest(name=name, **options)
        reply: entity_pb2.Entity = await self.entities.GetEntity(request)
        return reply

    async def listed(self, collection: str, **options: Any) -> list[str]:
        """Return the ids on one page of a collection's entities."""
        request = entity_service_pb2.ListEntitiesRequest(collection=collection, **options)
        reply = await self.entities.ListEntities(request)
        return [each.name.rpartition("/")[2] for each in reply.entities]

    async def delete(self, collection: str, **options: Any) -> int:
        """Delete entities and return how many there were."""
        request = entity_service_pb2.DeleteEntitiesRequest(collection=collection, **options)
        reply: entity_service_pb2.DeleteEntitiesResponse = await self.entities.DeleteEntities(
            request
        )
        return reply.count

    async def count(self, collection: str, filter_text: str = "") -> int:
        """Count entities."""
        request = entity_service_pb2.CountEntitiesRequest(collection=collection, filter=filter_text)
        reply: entity_service_pb2.CountEntitiesResponse = await self.entities.CountEntities(request)
        return reply.count


def plain_field(
    *,
    name: str = "vector",
    dimensions: int = 3,
    metric: vector_pb2.Metric.ValueType = vector_pb2.METRIC_COSINE,
    space: str = "",
) -> collection_pb2.VectorField:
    """Return a vector field whose vectors the caller brings."""
    return collection_pb2.VectorField(name=name, dimensions=dimensions, metric=metric, space=space)


def bits_field(
    metric: vector_pb2.Metric.ValueType = vector_pb2.METRIC_TANIMOTO,
    *,
    name: str = "vector",
    dimensions: int = 64,
    space: str = "",
) -> collection_pb2.VectorField:
    """Return a vector field whose bits the caller brings."""
    return collection_pb2.VectorField(
        name=name,
        dimensions=dimensions,
        vector_kind=vector_pb2.VECTOR_KIND_BINARY,
        metric=metric,
        space=space,
    )


def bits(data: bytes, dimensions: int = 0) -> vector_pb2.Vector:
    """Return a vector of packed bits."""
    return vector_pb2.Vector(binary=vector_pb2.BinaryVector(data=data, dimensions=dimensions))


def dense(*values: float) -> vector_pb2.Vector:
    """Return a vector as numbers."""
    return vector_pb2.Vector(dense=vector_pb2.DenseVector(values=values))


def entity(
    collection: str,
    entity_id: str = "",
    *values: float,
    attributes: Mapping[str, object] | None = None,
    text_content: str = "",
    **fields: Any,
) -> entity_pb2.Entity:
    """Return an entity with one vector in the field `vector`, or with a text as its content."""
    message = entity_pb2.Entity(**fields)
    if entity_id:
        message.name = f"{collection}/entities/{entity_id}"
    if values:
        message.vectors["vector"].CopyFrom(dense(*values))
    if text_content:
        message.content.CopyFrom(content_pb2.Content(text=text_content))
    if attributes is not None:
        message.attributes.CopyFrom(ParseDict(dict(attributes), Struct()))
    return message


def by_vector(*values: float, **fields: Any) -> search_service_pb2.Query:
    """Return a query by vector."""
    return search_service_pb2.Query(vector=dense(*values), **fields)


def by_text(text: str, **fields: Any) -> search_service_pb2.Query:
    """Return a query by text."""
    content = content_pb2.Content(text=text)
    return search_service_pb2.Query(content=content, **fields)


def by_words(words: str, **fields: Any) -> search_service_pb2.Query:
    """Return a keyword query."""
    return search_service_pb2.Query(keyword=words, **fields)


def by_entity(collection: str, entity_id: str, **fields: Any) -> search_service_pb2.Query:
    """Return a query by a stored entity."""
    return search_service_pb2.Query(
        entity=f"{collection}/entities/{entity_id}",
        **fields,
    )


def ids(hits: Iterable[search_service_pb2.Hit]) -> list[str]:
    """Return the ids of hits, in their order."""
    return [each.entity.name.rpartition("/")[2] for each in hits]


def outcomes(reply: entity_service_pb2.UpsertEntitiesResponse) -> list[int]:
    """Return what became of entities that are all kept."""
    assert all(each.HasField("entity") for each in reply.results), reply
    return [each.entity.outcome for each in reply.results]


def upsert_error(result: entity_service_pb2.UpsertResult) -> LookalikeError:
    """Return why an entity was refused."""
    assert result.HasField("error"), result
    return error_from_status(result.error)


async def failure(call: Any) -> LookalikeError:  # Any: an awaitable of whatever call
    """Return the error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)
