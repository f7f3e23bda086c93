"""The two ways into one Milvus that the search benchmark compares: our service, and pymilvus.

Both ask the same collection for the same: ids, items, texts and attributes of the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from pymilvus import AsyncMilvusClient, DataType, MilvusClient

from lookalike.search.v1 import collection_pb2, entity_pb2, search_service_pb2
from lookalike.type.v1 import vector_pb2
from tests.bench.search_corpus import BUCKETS, Vectors
from tests.support.search_client import SearchClient

BATCH: Final = 500
EFFORTS: Final = (64, 512, 4096)
"""What the service takes as `ef` for up to so many hits; pymilvus is told the same."""
COLUMNS: Final = ["item", "text", "attrs"]
_VECTOR: Final = "v_vector"


class Caller(Protocol):
    """One way to search."""

    async def search(self, queries: Vectors, top_k: int = 10, buckets: str = "") -> list[list[int]]:
        """Return the rows nearest to each query; `buckets` is a condition: `< 10` or `= 7`."""
        ...


class Service:
    """Through the search service over gRPC."""

    def __init__(self, client: SearchClient, collection: str) -> None:
        self.client = client
        self.collection = collection

    async def search(self, queries: Vectors, top_k: int = 10, buckets: str = "") -> list[list[int]]:
        """See `Caller`; several queries are one `BatchSearch`."""
        requests = [
            search_service_pb2.SearchRequest(
                collection=self.collection,
                queries=[vector_query(each)],
                top_k=top_k,
                filter=f"bucket {buckets}" if buckets else "",
            )
            for each in queries
        ]
        if len(requests) == 1:
            return [_rows(await self.client.searches.Search(requests[0]))]
        reply = await self.client.searches.BatchSearch(
            search_service_pb2.BatchSearchRequest(collection=self.collection, requests=requests)
        )
        return [_rows(each.response) for each in reply.results]

    async def fuse(self, queries: Sequence[search_service_pb2.Query]) -> list[int]:
        """Return the rows that several queries together find."""
        request = search_service_pb2.SearchRequest(collection=self.collection, queries=queries)
        return _rows(await self.client.searches.Search(request))

    async def write(
        self, vectors: Vectors, start: int = 0, texts: Sequence[str] = (), run: int = 0
    ) -> None:
        """Write rows from number `start` on; another `run` makes them other rows."""
        entities = []
        for number, vector in enumerate(vectors, start):
            entity = entity_pb2.Entity(
                name=f"{self.collection}/entities/{number}", item=f"item {number}"
            )
            entity.vectors["vector"].dense.data = vector.tobytes()
            entity.attributes["bucket"] = number % BUCKETS
            if run:
                entity.attributes["run"] = run
            if texts:
                entity.text = texts[number - start]
            entities.append(entity)
        reply = await self.client.upsert(self.collection, *entities)
        failed = next((each for each in reply.results if each.HasField("error")), None)
        if failed is not None:
            raise RuntimeError(failed.error.message)


async def make_service(
    client: SearchClient, collection_id: str, dimensions: int, *, text: bool = False
) -> Service:
    """Create a collection and return the caller of it."""
    attribute = collection_pb2.AttributeField
    name = await client.create(
        collection_pb2.VectorField(dimensions=dimensions, metric=vector_pb2.METRIC_COSINE),
        attributes=[attribute(name="bucket", type=attribute.TYPE_INT, filterable=True)],
        collection_id=collection_id,
        text_index=collection_pb2.TextIndex() if text else None,
    )
    return Service(client, name)


class Direct:
    """By pymilvus, as its users would."""

    def __init__(self, client: AsyncMilvusClient, storage: str) -> None:
        self._client = client
        self._storage = storage

    async def search(self, queries: Vectors, top_k: int = 10, buckets: str = "") -> list[list[int]]:
        """See `Caller`; several queries are one call."""
        effort = next(each for each in EFFORTS if each > top_k)
        answers = await self._client.search(
            self._storage,
            list(queries),
            anns_field=_VECTOR,
            limit=top_k,
            filter=f"f_bucket {buckets.replace('= ', '== ')}" if buckets else "",
            output_fields=COLUMNS,
            search_params={"metric_type": "COSINE", "params": {"ef": effort}},
            consistency_level="Bounded",
        )
        return [[int(hit["id"]) for hit in answer] for answer in answers]


def write_directly(uri: str, vectors: Vectors) -> None:
    """Write rows with pymilvus into a collection of the same columns."""
    client = MilvusClient(uri)
    name = "direct"
    try:
        client.create_collection(name, schema=_schema(client, vectors.shape[1]))
        for start in range(0, len(vectors), BATCH):
            client.upsert(
                name,
                [
                    {
                        "id": str(number),
                        "item": f"item {number}",
                        "hash": f"{number:064}",
                        "text": "",
                        "sys": {"generation": number},
                        "attrs": {"bucket": number % BUCKETS},
                        "f_bucket": number % BUCKETS,
                        _VECTOR: vector,
                    }
                    for number, vector in enumerate(vectors[start : start + BATCH], start)
                ],
            )
        client.drop_collection(name)
    finally:
        client.close()


def _schema(client: MilvusClient, dimensions: int) -> Any:  # pymilvus has no type for it
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
    for name, length in (("item", 1024), ("hash", 64), ("text", 65_535)):
        schema.add_field(name, DataType.VARCHAR, max_length=length)
    for name in ("sys", "attrs"):
        schema.add_field(name, DataType.JSON)
    schema.add_field("f_bucket", DataType.INT64)
    schema.add_field(_VECTOR, DataType.FLOAT_VECTOR, dim=dimensions)
    return schema


def vector_query(vector: Vectors) -> search_service_pb2.Query:
    """Return a query for what is near a vector."""
    data = np.ascontiguousarray(vector, "<f4").tobytes()
    return search_service_pb2.Query(
        vector=vector_pb2.Vector(dense=vector_pb2.DenseVector(data=data))
    )


def _rows(reply: search_service_pb2.SearchResponse) -> list[int]:
    return [int(hit.entity.name.rpartition("/")[2]) for hit in reply.hits]
