"""Real gRPC servers behind a gateway, that do what the names in a request ask for."""

# ruff: noqa: N802 - rpcs have the names that the protos give them

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from lookalike.asset.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc
from lookalike.encoder.v1 import encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_pb2,
    search_service_pb2,
    search_service_pb2_grpc,
)
from lookalike_common.context import RequestContext, current_context
from lookalike_common.errors import (
    BackendUnavailableError,
    InvalidFilterError,
    NotFoundError,
    OverloadedError,
)
from lookalike_common.server import GrpcServer, Service
from lookalike_common.testing import server_settings

# Any: one context type for the messages of all methods.
Context = grpc.aio.ServicerContext[Any, Any]


class Peer:
    """What all peers remember of their calls."""

    def __init__(self) -> None:
        self.contexts: list[RequestContext] = []
        self.headers: list[dict[str, Any]] = []
        self.waiting = asyncio.Event()
        """Set while a call waits for its caller to leave."""
        self.left = asyncio.Event()
        """Set when the caller of a waiting call left."""

    def note(self, context: Context) -> None:
        self.contexts.append(current_context())
        self.headers.append(dict(context.invocation_metadata() or ()))

    async def wait_for_ever(self) -> None:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


class SearchPeer(
    Peer,
    search_service_pb2_grpc.SearchServiceServicer,
    collection_service_pb2_grpc.CollectionServiceServicer,
):
    """Finds what it is asked for; some collections are trouble."""

    def server(self) -> GrpcServer:
        """Return a server that answers with this peer."""
        searches = search_service_pb2_grpc.add_SearchServiceServicer_to_server
        collections = collection_service_pb2_grpc.add_CollectionServiceServicer_to_server
        return GrpcServer(
            server_settings(),
            server_name="search",
            services=[
                Service("lookalike.search.v1.SearchService", searches, self),
                Service("lookalike.search.v1.CollectionService", collections, self),
            ],
        )

    async def Search(
        self, request: search_service_pb2.SearchRequest, context: Context
    ) -> search_service_pb2.SearchResponse:
        """Return one hit for each query, its text being what the query brought."""
        self.note(context)
        match request.collection.removeprefix("collections/"):
            case "missing":
                raise NotFoundError("no such collection", resource_name=request.collection)
            case "filter":
                raise InvalidFilterError("at offset 0: no", field="filter")
            case "full":
                raise OverloadedError("full", retry_after=timedelta(seconds=2))
            case "away":
                raise BackendUnavailableError("Milvus is away")
            case "broken":
                raise RuntimeError("secret")
            case "slow":
                await self.wait_for_ever()
        hits = [
            search_service_pb2.Hit(
                entity=entity_pb2.Entity(
                    name=f"{request.collection}/entities/{index}",
                    text=query.content.text or query.content.image.hex(),
                    generation=2**60 + index,
                ),
                score=0.5,
                rank=index + 1,
            )
            for index, query in enumerate(request.queries)
        ]
        return search_service_pb2.SearchResponse(hits=hits)

    async def BatchSearch(
        self, request: search_service_pb2.BatchSearchRequest, context: Context
    ) -> search_service_pb2.BatchSearchResponse:
        """Answer each search."""
        replies = [await self.Search(each, context) for each in request.requests]
        results = [search_service_pb2.SearchResult(response=each) for each in replies]
        return search_service_pb2.BatchSearchResponse(results=results)

    async def Recommend(
        self, request: search_service_pb2.RecommendRequest, context: Context
    ) -> search_service_pb2.SearchResponse:
        """Return one hit for each good example."""
        queries = request.positive
        search = search_service_pb2.SearchRequest(collection=request.collection, queries=queries)
        return await self.Search(search, context)

    async def Classify(
        self, request: search_service_pb2.ClassifyRequest, context: Context
    ) -> search_service_pb2.ClassifyResponse:
        """Return no label."""
        self.note(context)
        return search_service_pb2.ClassifyResponse(
            candidates=[search_service_pb2.LabelVotes(count=len(request.label))]
        )

    async def CreateCollection(
        self, request: collection_service_pb2.CreateCollectionRequest, context: Context
    ) -> collection_pb2.Collection:
        """Return the collection with its name."""
        self.note(context)
        created = collection_pb2.Collection(name=f"collections/{request.collection_id}")
        created.MergeFrom(request.collection)
        return created

    async def GetCollection(
        self, request: collection_service_pb2.GetCollectionRequest, context: Context
    ) -> collection_pb2.Collection:
        """Return the collection; `large` has a description of a megabyte."""
        self.note(context)
        size = 1024 * 1024 if request.name.endswith("large") else 1
        return collection_pb2.Collection(name=request.name, description="x" * size)

    async def ListCollections(
        self, request: collection_service_pb2.ListCollectionsRequest, context: Context
    ) -> collection_service_pb2.ListCollectionsResponse:
        """Return an empty page, the page size being its token."""
        self.note(context)
        return collection_service_pb2.ListCollectionsResponse(
            next_page_token=str(request.page_size)
        )

    async def DeleteCollection(
        self, _request: collection_service_pb2.DeleteCollectionRequest, context: Context
    ) -> Empty:
        """Delete nothing."""
        self.note(context)
        return Empty()


class IngestPeer(
    Peer,
    ingest_service_pb2_grpc.IngestServiceServicer,
    asset_service_pb2_grpc.AssetServiceServicer,
):
    """Watches jobs by their names."""

    def server(self) -> GrpcServer:
        """Return a server that answers with this peer."""
        jobs = ingest_service_pb2_grpc.add_IngestServiceServicer_to_server
        assets = asset_service_pb2_grpc.add_AssetServiceServicer_to_server
        return GrpcServer(
            server_settings(),
            server_name="ingest",
            services=[
                Service("lookalike.ingest.v1.IngestService", jobs, self),
                Service("lookalike.asset.v1.AssetService", assets, self),
            ],
        )

    async def WatchJob(
        self, request: ingest_service_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[ingest_service_pb2.WatchJobResponse]:
        """Yield three states; `missing`, `breaks`, `quiet` and `empty` do what they say."""
        self.note(context)
        name = request.name.removeprefix("jobs/")
        if name == "missing":
            raise NotFoundError("no such job", resource_name=request.name)
        if name == "empty":
            return
        for offset in range(1, 4):
            yield ingest_service_pb2.WatchJobResponse(
                offset=request.offset + offset, job=job_pb2.Job(name=request.name)
            )
            if name == "breaks" and offset == 2:
                raise OverloadedError("too many watchers")
            if name == "quiet":
                await self.wait_for_ever()

    async def GetAsset(
        self, request: asset_service_pb2.GetAssetRequest, context: Context
    ) -> asset_pb2.Asset:
        """Return an asset of a size that is no JSON number."""
        self.note(context)
        return asset_pb2.Asset(name=request.name, size_bytes=2**53 + 1)


class EncoderPeer(Peer, encoder_service_pb2_grpc.EncoderServiceServicer):
    """Has no encoders."""

    def server(self) -> GrpcServer:
        """Return a server that answers with this peer."""
        add = encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server
        service = Service("lookalike.encoder.v1.EncoderService", add, self)
        return GrpcServer(server_settings(), server_name="encoder", services=[service])

    async def ListEncoders(
        self, _request: encoder_service_pb2.ListEncodersRequest, context: Context
    ) -> encoder_service_pb2.ListEncodersResponse:
        """Return an empty page."""
        self.note(context)
        return encoder_service_pb2.ListEncodersResponse()
