"""CollectionService over gRPC, on Milvus Lite."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from lookalike.search.v1 import collection_pb2, collection_service_pb2
from lookalike.type.v1 import server_info_service_pb2, server_info_service_pb2_grpc, vector_pb2
from lookalike_common.channels import open_channel
from lookalike_common.errors import (
    AlreadyExistsError,
    EncoderMismatchError,
    EtagMismatchError,
    InvalidArgumentError,
    InvalidPageTokenError,
    NotFoundError,
    UnsupportedByBackendError,
)
from lookalike_common.server import GrpcServer
from lookalike_common.testing import loopback
from tests.support.search_client import SearchClient, bits_field, entity, failure, plain_field
from tests.support.toy_encoder import DIMENSIONS, TEXT, ToyEncoder

Attribute = collection_pb2.AttributeField


async def get(client: SearchClient, name: str) -> collection_pb2.Collection:
    reply: collection_pb2.Collection = await client.collections.GetCollection(
        collection_service_pb2.GetCollectionRequest(name=name)
    )
    return reply


@pytest.mark.feature("several-vectors")
async def test_collection_is_bound_to_its_encoder(
    client: SearchClient, toy_encoder: ToyEncoder
) -> None:
    request = collection_service_pb2.CreateCollectionRequest(
        collection_id="bound",
        collection=collection_pb2.Collection(
            description="Letters",
            labels={"team": "a"},
            vector_fields=[collection_pb2.VectorField(encoder="encoders/toy-text")],
            attributes=[Attribute(name="price", type=Attribute.TYPE_INT, filterable=True)],
        ),
    )
    created = await client.collections.CreateCollection(request)
    [field] = created.vector_fields
    assert field.name == "vector"
    assert field.encoder == TEXT
    assert field.encoder_fingerprint == toy_encoder.fingerprints[TEXT]
    assert (field.dimensions, field.metric) == (DIMENSIONS, vector_pb2.METRIC_COSINE)
    assert field.space == "letters@1"
    assert created.backend == "milvus-lite"
    assert created.state == collection_pb2.Collection.STATE_READY
    assert created.description == "Letters"
    assert await get(client, "collections/bound") == created


@pytest.mark.lite_only  # without an index, which others have, memory is that of the vectors
async def test_count_and_memory_follow_the_entities(client: SearchClient) -> None:
    name = await client.create()
    await client.upsert(name, *(entity(name, f"e{i}", 1, i, 0) for i in range(5)))
    found = await get(client, name)
    assert (found.entity_count, found.memory_bytes) == (5, 5 * 3 * 4)


async def test_list_is_paged_by_name(client: SearchClient) -> None:
    names = sorted([await client.create() for _ in range(5)])
    seen: list[str] = []
    token = ""
    while True:
        page = await client.collections.ListCollections(
            collection_service_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        )
        assert len(page.collections) <= 2
        seen += [each.name for each in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen)
    assert [each for each in seen if each in names] == names
    bad = collection_service_pb2.ListCollectionsRequest(page_token="nonsense")
    assert type(await failure(client.collections.ListCollections(bad))) is InvalidPageTokenError


async def test_delete(client: SearchClient) -> None:
    name = await client.create()
    wrong = collection_service_pb2.DeleteCollectionRequest(name=name, etag="old")
    assert type(await failure(client.collections.DeleteCollection(wrong))) is EtagMismatchError
    etag = (await get(client, name)).etag
    right = collection_service_pb2.DeleteCollectionRequest(name=name, etag=etag)
    await client.collections.DeleteCollection(right)
    missing = await failure(client.collections.DeleteCollection(right))
    assert type(missing) is NotFoundError
    assert missing.resource_name == name
    assert type(await failure(get(client, name))) is NotFoundError


async def test_deleted_and_created_again_is_empty(client: SearchClient) -> None:
    """The process that remembers the old collection does not write into it, nor fails."""
    name = await client.create(collection_id="again")
    await client.upsert(name, entity(name, "old", 1, 0, 0))
    await client.collections.DeleteCollection(
        collection_service_pb2.DeleteCollectionRequest(name=name)
    )
    await client.create(plain_field(dimensions=4), collection_id="again")
    await client.upsert(name, entity(name, "new", 1, 0, 0, 0))
    assert await client.count(name) == 1


async def test_of_creators_at_the_same_time_one_wins(client: SearchClient) -> None:
    attempts = await asyncio.gather(
        *(client.create(collection_id="contested") for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(each, str) for each in attempts) == 1
    codes = {each.code() for each in attempts if isinstance(each, grpc.aio.AioRpcError)}
    assert codes == {grpc.StatusCode.ALREADY_EXISTS}
    again = await failure(client.create(collection_id="contested"))
    assert type(again) is AlreadyExistsError
    assert again.resource_name == "collections/contested"


UNDECLARED_KEY = "a partition key that is not declared"
REFUSED = {
    "unknown encoder": (
        collection_pb2.Collection(
            vector_fields=[collection_pb2.VectorField(encoder="encoders/none")]
        ),
        NotFoundError,
        "",
    ),
    "other dimensions": (
        collection_pb2.Collection(
            vector_fields=[collection_pb2.VectorField(encoder=TEXT, dimensions=7)]
        ),
        EncoderMismatchError,
        "collection.vector_fields[0].dimensions",
    ),
    "other metric": (
        collection_pb2.Collection(
            vector_fields=[
                collection_pb2.VectorField(encoder=TEXT, metric=vector_pb2.METRIC_EUCLIDEAN)
            ]
        ),
        EncoderMismatchError,
        "collection.vector_fields[0].metric",
    ),
    "neither encoder nor dimensions": (
        collection_pb2.Collection(vector_fields=[collection_pb2.VectorField(name="v")]),
        InvalidArgumentError,
        "collection.vector_fields[0]",
    ),
    "no vector field": (collection_pb2.Collection(), InvalidArgumentError, ""),
    "unnamed among several": (
        collection_pb2.Collection(vector_fields=[plain_field(), plain_field(name="")]),
        InvalidArgumentError,
        "collection.vector_fields[1].name",
    ),
    "the same name twice": (
        collection_pb2.Collection(vector_fields=[plain_field(), plain_field()]),
        InvalidArgumentError,
        "collection.vector_fields[1].name",
    ),
    "one dimension": (
        collection_pb2.Collection(vector_fields=[plain_field(dimensions=1)]),
        InvalidArgumentError,
        "collection.vector_fields[0].dimensions",
    ),
    "tanimoto on numbers": (
        collection_pb2.Collection(vector_fields=[plain_field(metric=vector_pb2.METRIC_TANIMOTO)]),
        InvalidArgumentError,
        "collection.vector_fields[0].metric",
    ),
    "cosine on bits": (
        collection_pb2.Collection(vector_fields=[bits_field(vector_pb2.METRIC_COSINE)]),
        InvalidArgumentError,
        "collection.vector_fields[0].metric",
    ),
    "one bit": (
        collection_pb2.Collection(
            vector_fields=[bits_field(vector_pb2.METRIC_HAMMING, dimensions=1)]
        ),
        InvalidArgumentError,
        "collection.vector_fields[0].dimensions",
    ),
    "an index for bits that Milvus Lite lacks": (
        collection_pb2.Collection(
            vector_fields=[
                collection_pb2.VectorField(
                    dimensions=64,
                    vector_kind=vector_pb2.VECTOR_KIND_BINARY,
                    metric=vector_pb2.METRIC_TANIMOTO,
                    index=collection_pb2.Index(type=collection_pb2.Index.TYPE_HNSW),
                )
            ]
        ),
        UnsupportedByBackendError,
        "collection.vector_fields[0].index.type",
    ),
    "sparse vectors": (
        collection_pb2.Collection(
            vector_fields=[
                collection_pb2.VectorField(
                    dimensions=64,
                    vector_kind=vector_pb2.VECTOR_KIND_SPARSE,
                    metric=vector_pb2.METRIC_INNER_PRODUCT,
                )
            ]
        ),
        UnsupportedByBackendError,
        "collection.vector_fields[0].vector_kind",
    ),
    "an index that Milvus Lite lacks": (
        collection_pb2.Collection(
            vector_fields=[
                collection_pb2.VectorField(
                    dimensions=4,
                    metric=vector_pb2.METRIC_COSINE,
                    index=collection_pb2.Index(type=collection_pb2.Index.TYPE_DISKANN),
                )
            ]
        ),
        UnsupportedByBackendError,
        "collection.vector_fields[0].index.type",
    ),
    "an index setting that does not exist": (
        collection_pb2.Collection(
            vector_fields=[
                collection_pb2.VectorField(
                    dimensions=4,
                    metric=vector_pb2.METRIC_COSINE,
                    index=collection_pb2.Index(
                        type=collection_pb2.Index.TYPE_HNSW, params={"drop table": 1}
                    ),
                )
            ]
        ),
        InvalidArgumentError,
        "collection.vector_fields[0].index.params.drop table",
    ),
    "a reserved attribute": (
        collection_pb2.Collection(
            vector_fields=[plain_field()],
            attributes=[Attribute(name="source_uri", type=Attribute.TYPE_STRING)],
        ),
        InvalidArgumentError,
        "collection.attributes[0].name",
    ),
    "an attribute twice": (
        collection_pb2.Collection(
            vector_fields=[plain_field()],
            attributes=[Attribute(name="a", type=Attribute.TYPE_STRING)] * 2,
        ),
        InvalidArgumentError,
        "collection.attributes[1].name",
    ),
    "an attribute with a hostile name": (
        collection_pb2.Collection(
            vector_fields=[plain_field()],
            attributes=[Attribute(name='a"]; drop', type=Attribute.TYPE_STRING)],
        ),
        InvalidArgumentError,
        "collection.attributes[0].name",
    ),
    UNDECLARED_KEY: (
        collection_pb2.Collection(vector_fields=[plain_field()], partition_key="a"),
        InvalidArgumentError,
        "collection.partition_key",
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        *(each for each in REFUSED if each != UNDECLARED_KEY),
        pytest.param(UNDECLARED_KEY, marks=pytest.mark.feature("partition-key")),
    ],
)
async def test_refused(client: SearchClient, case: str) -> None:
    collection, error, field = REFUSED[case]
    request = collection_service_pb2.CreateCollectionRequest(
        collection_id="refused", collection=collection
    )
    refused = await failure(client.collections.CreateCollection(request))
    assert type(refused) is error, refused.message
    assert refused.field == field
    assert type(await failure(get(client, "collections/refused"))) is NotFoundError


async def test_ids_have_a_form(client: SearchClient) -> None:
    for bad in ("", "A", "a_b", "-a", "a" * 64, "ä", "a/b"):
        request = collection_service_pb2.CreateCollectionRequest(
            collection_id=bad,
            collection=collection_pb2.Collection(vector_fields=[plain_field()]),
        )
        refused = await failure(client.collections.CreateCollection(request))
        assert type(refused) is InvalidArgumentError
        assert refused.field == "collection_id"


@pytest.mark.lite_only
async def test_server_info_names_the_backend(search_server: GrpcServer) -> None:
    async with open_channel(loopback(search_server.port)) as channel:
        stub = server_info_service_pb2_grpc.ServerInfoServiceStub(channel)
        info = await stub.GetServerInfo(server_info_service_pb2.GetServerInfoRequest())
    assert info.name == "servers/search"
    assert "milvus-lite" in info.features
    assert info.backend == "milvus-lite"
    assert info.limits["max_top_k"] == 10_000
