"""The encoder and the search service as ingest sees them: real gRPC servers over dictionaries.

Vectors are made of the bytes' hash, entities follow the rules of generations, and a test can make
either one fail, wait or vanish. What they remember is the test's own record of what was written.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2, encoder_service_pb2_grpc
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
from lookalike.type.v1 import content_pb2, outcome_pb2, vector_pb2
from lookalike_common.context import current_context
from lookalike_common.errors import (
    ConcurrentChangeError,
    EncoderMismatchError,
    InvalidContentError,
    LookalikeError,
    NotFoundError,
)
from lookalike_common.server import GrpcServer, Service
from lookalike_common.settings import AuthSettings
from lookalike_common.status import to_status
from lookalike_common.testing import running, server_settings

ENCODER = "encoders/fake@1"
DETECTOR = "encoders/finder@1"
COLLECTION = "collections/photos"
FINGERPRINT = hashlib.sha256(b"fake").hexdigest()
POISON = b"poison"
"""Bytes containing this are refused by the encoder."""


@dataclass
class Peers:
    """Both services' state, and the switches of a test."""

    backend: str = "milvus-2.6"
    fingerprint: str = FINGERPRINT
    bound_to: str = FINGERPRINT
    modalities: tuple[content_pb2.Modality.ValueType, ...] = (content_pb2.MODALITY_IMAGE,)
    preferred_items: int = 8
    longest_sound: timedelta = timedelta(seconds=60)
    attributes: dict[str, collection_pb2.AttributeField.Type.ValueType] = field(
        default_factory=dict
    )
    """Declared ones."""
    objects: list[encoder_service_pb2.Detection] = field(default_factory=list)
    """What the detector finds in every picture."""
    asked_score: float | None = None
    """What the detector was last asked for."""
    collections: set[str] = field(default_factory=lambda: {COLLECTION})
    entities: dict[tuple[str, str], entity_pb2.Entity] = field(default_factory=dict)
    """By (tenant, name)."""
    born: dict[tuple[str, str], int] = field(default_factory=dict)
    """Generation of an entity's first write."""
    writes: Counter[str] = field(default_factory=Counter)
    """How often each entity was written with something new."""
    calls: Counter[str] = field(default_factory=Counter)
    encoded: int = 0
    priorities: set[int] = field(default_factory=set)
    failures: dict[str, list[LookalikeError]] = field(default_factory=dict)
    """By rpc: raised one after the other, before anything is done."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By rpc: calls wait until it is set."""
    open_after: Counter[str] = field(default_factory=Counter)
    """By rpc: so many calls pass its gate first."""
    refuse_with: dict[bytes, LookalikeError] = field(default_factory=dict)
    """Encode fails as a whole when an image contains such bytes."""
    on_image: dict[bytes, Callable[[], object]] = field(default_factory=dict)
    """Called when an image that contains such bytes is to be encoded, which then never ends."""
    hidden: bool = False
    """Whether searches do not see yet what was written."""
    on_call: Callable[[str], None] | None = None

    async def enter(self, rpc: str) -> None:
        """Note a call, and do to it what the test asked for."""
        self.calls[rpc] += 1
        if self.on_call is not None:
            self.on_call(rpc)
        if rpc in self.gates and self.calls[rpc] > self.open_after[rpc]:
            await self.gates[rpc].wait()
        if self.failures.get(rpc):
            raise self.failures[rpc].pop(0)

    def items(self, tenant: str = "") -> Counter[str]:
        """Return how many entities each item has."""
        return Counter(
            entity.item for (owner, _), entity in self.entities.items() if owner == tenant
        )


class FakeEncoder(encoder_service_pb2_grpc.EncoderServiceServicer):
    """One encoder, 4 components a vector."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def GetEncoder(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.GetEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        await self._peers.enter("GetEncoder")
        if request.name == DETECTOR:
            return encoder_pb2.Encoder(name=DETECTOR, fingerprint="d" * 64)
        if request.name != ENCODER:
            raise NotFoundError("no such encoder", resource_name=request.name)
        limits = encoder_pb2.Encoder.Limits(preferred_items=self._peers.preferred_items)
        limits.max_duration.FromTimedelta(self._peers.longest_sound)
        limits.min_duration.FromTimedelta(timedelta(seconds=0.1))
        return encoder_pb2.Encoder(
            name=ENCODER,
            modalities=self._peers.modalities,
            dimensions=4,
            fingerprint=self._peers.fingerprint,
            limits=limits,
        )

    async def Encode(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.EncodeRequest, _context: object
    ) -> encoder_service_pb2.EncodeResponse:
        peers = self._peers
        await peers.enter("Encode")
        if request.expected_fingerprint != peers.fingerprint:
            raise EncoderMismatchError(
                f"expected {request.expected_fingerprint}, this is {peers.fingerprint}"
            )
        for data, error in peers.refuse_with.items():
            if any(data in item.content.image for item in request.items):
                raise error
        for data, act in peers.on_image.items():
            if any(data in item.content.image for item in request.items):
                act()
                await asyncio.Event().wait()
        peers.priorities.add(request.priority)
        peers.encoded += len(request.items)
        return encoder_service_pb2.EncodeResponse(
            results=[_encode(item.content) for item in request.items]
        )

    async def Detect(  # noqa: N802 - the name of the rpc
        self, request: encoder_service_pb2.DetectRequest, _context: object
    ) -> encoder_service_pb2.DetectResponse:
        await self._peers.enter("Detect")
        self._peers.asked_score = request.min_score
        found = encoder_service_pb2.Detections(detections=self._peers.objects)
        return encoder_service_pb2.DetectResponse(
            results=[encoder_service_pb2.DetectResult(detections=found) for _ in request.contents]
        )


def _encode(content: content_pb2.Content) -> encoder_service_pb2.EncodeResult:
    raw = content.raw_image.data or content.raw_audio.data
    text = content.text or content.smiles or content.sequence
    data = raw or content.image or content.audio or text.encode()
    if POISON in data:
        error = encoder_service_pb2.EncodeResult()
        error.error.CopyFrom(to_status(InvalidContentError("poison")))
        return error
    vector = vector_pb2.Vector(
        dense=vector_pb2.DenseVector(data=hashlib.sha256(data).digest()[:16], dimensions=4)
    )
    return encoder_service_pb2.EncodeResult(item=encoder_service_pb2.EncodedItem(vectors=[vector]))


class FakeCollections(collection_service_pb2_grpc.CollectionServiceServicer):
    """Collections with one field, bound to the encoder."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def GetCollection(  # noqa: N802 - the name of the rpc
        self, request: collection_service_pb2.GetCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        await self._peers.enter("GetCollection")
        if request.name not in self._peers.collections:
            raise NotFoundError("no such collection", resource_name=request.name)
        field_ = collection_pb2.VectorField(
            name="vector", dimensions=4, encoder=ENCODER, encoder_fingerprint=self._peers.bound_to
        )
        return collection_pb2.Collection(
            name=request.name,
            backend=self._peers.backend,
            entity_count=len(self._peers.entities),
            vector_fields=[field_],
            attributes=[
                collection_pb2.AttributeField(name=name, type=type_)
                for name, type_ in self._peers.attributes.items()
            ],
        )

    async def OptimizeCollection(  # noqa: N802 - the name of the rpc
        self, request: collection_service_pb2.OptimizeCollectionRequest, _context: object
    ) -> collection_pb2.Collection:
        await self._peers.enter("OptimizeCollection")
        return collection_pb2.Collection(name=request.name)

    async def ListCollections(  # noqa: N802 - the name of the rpc
        self, request: collection_service_pb2.ListCollectionsRequest, _context: object
    ) -> collection_service_pb2.ListCollectionsResponse:
        """List one a page."""
        await self._peers.enter("ListCollections")
        names = sorted(name for name in self._peers.collections if name > request.page_token)
        return collection_service_pb2.ListCollectionsResponse(
            collections=[collection_pb2.Collection(name=name) for name in names[:1]],
            next_page_token=names[0] if len(names) > 1 else "",
        )


class FakeEntities(entity_service_pb2_grpc.EntityServiceServicer):
    """Entities under the rules of generations."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def BatchGetEntities(  # noqa: N802 - the name of the rpc
        self, request: entity_service_pb2.BatchGetEntitiesRequest, _context: object
    ) -> entity_service_pb2.BatchGetEntitiesResponse:
        await self._peers.enter("BatchGetEntities")
        response = entity_service_pb2.BatchGetEntitiesResponse()
        for name in request.names:
            known = self._peers.entities.get((current_context().tenant, name))
            result = response.results.add()
            if known is None:
                result.error.CopyFrom(to_status(NotFoundError("no such entity")))
            else:
                result.entity.CopyFrom(known)
        return response

    async def GetEntity(  # noqa: N802 - the name of the rpc
        self, request: entity_service_pb2.GetEntityRequest, _context: object
    ) -> entity_pb2.Entity:
        """Get one with all that it has."""
        await self._peers.enter("GetEntity")
        known = self._peers.entities.get((current_context().tenant, request.name))
        if known is None:
            raise NotFoundError("no such entity")
        return known

    async def UpsertEntities(  # noqa: N802 - the name of the rpc
        self, request: entity_service_pb2.UpsertEntitiesRequest, _context: object
    ) -> entity_service_pb2.UpsertEntitiesResponse:
        await self._peers.enter("UpsertEntities")
        if request.collection not in self._peers.collections:
            raise NotFoundError("no such collection", resource_name=request.collection)
        if request.encoder_fingerprints != {"vector": self._peers.bound_to}:
            raise EncoderMismatchError(f"the collection is bound to {self._peers.bound_to}")
        response = entity_service_pb2.UpsertEntitiesResponse()
        for entity in request.entities:
            result = response.results.add()
            try:
                outcome = self._upsert(entity)
            except LookalikeError as error:
                result.error.CopyFrom(to_status(error))
            else:
                result.entity.name = entity.name
                result.entity.outcome = outcome
        return response

    def _upsert(self, entity: entity_pb2.Entity) -> outcome_pb2.Outcome.ValueType:
        peers, key = self._peers, (current_context().tenant, entity.name)
        known = peers.entities.get(key)
        if known is not None and known.generation > entity.generation:
            raise ConcurrentChangeError("a newer generation is stored")
        if known is None:
            peers.born[key] = entity.generation
        created = peers.born[key] == entity.generation
        same = known is not None and _content(known) == _content(entity)
        if known is not None and same and known.generation != entity.generation:
            return outcome_pb2.OUTCOME_UNCHANGED
        if not same:
            peers.writes[entity.item] += 1
        peers.entities[key] = entity
        return outcome_pb2.OUTCOME_CREATED if created else outcome_pb2.OUTCOME_UPDATED

    async def ListEntities(  # noqa: N802 - the name of the rpc
        self, request: entity_service_pb2.ListEntitiesRequest, _context: object
    ) -> entity_service_pb2.ListEntitiesResponse:
        """List those that were made from an asset; no other filter is known here."""
        await self._peers.enter("ListEntities")
        asset = request.filter.removeprefix('asset = "').removesuffix('"')
        return entity_service_pb2.ListEntitiesResponse(
            entities=[
                entity
                for (tenant, name), entity in self._peers.entities.items()
                if tenant == current_context().tenant
                and name.startswith(f"{request.collection}/")
                and entity.asset == asset
            ]
        )

    async def DeleteEntities(  # noqa: N802 - the name of the rpc
        self, request: entity_service_pb2.DeleteEntitiesRequest, _context: object
    ) -> entity_service_pb2.DeleteEntitiesResponse:
        await self._peers.enter("DeleteEntities")
        stale = [
            (current_context().tenant, name)
            for name in request.names
            if (current_context().tenant, name) in self._peers.entities
        ]
        stale += [
            key
            for selector in request.items
            for key, entity in self._peers.entities.items()
            if key[0] == current_context().tenant
            and key[1].startswith(f"{request.collection}/")
            and entity.item == selector.item
            and entity.generation < selector.before_generation
            and entity.name not in selector.keep
        ]
        for key in stale:
            del self._peers.entities[key]
        return entity_service_pb2.DeleteEntitiesResponse(count=len(stale))


def _content(entity: entity_pb2.Entity) -> tuple[str, str, bytes]:
    return (
        entity.content_hash,
        entity.text,
        entity.attributes.SerializeToString(deterministic=True),
    )


class FakeSearches(search_service_pb2_grpc.SearchServiceServicer):
    """Finds items by their keys, those that a test does not hide."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def Search(  # noqa: N802 - the name of the rpc
        self, request: search_service_pb2.SearchRequest, _context: object
    ) -> search_service_pb2.SearchResponse:
        """Find what `item = "…"` says."""
        await self._peers.enter("Search")
        item = request.filter.removeprefix('item = "').removesuffix('"')
        found = [
            search_service_pb2.Hit(entity=entity)
            for (tenant, _), entity in self._peers.entities.items()
            if tenant == current_context().tenant and entity.item == item
        ]
        return search_service_pb2.SearchResponse(hits=() if self._peers.hidden else found)


@asynccontextmanager
async def running_encoder(
    peers: Peers, port: int = 0, auth: AuthSettings | None = None
) -> AsyncIterator[GrpcServer]:
    """Serve the encoder."""
    service = Service(
        "lookalike.encoder.v1.EncoderService",
        encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server,
        FakeEncoder(peers),  # type: ignore[abstract] # the others answer UNIMPLEMENTED
    )
    server = GrpcServer(
        server_settings(port=port, auth=auth or AuthSettings()),
        server_name="encoder",
        services=[service],
    )
    async with running(server):
        yield server


@asynccontextmanager
async def running_search(
    peers: Peers, port: int = 0, auth: AuthSettings | None = None
) -> AsyncIterator[GrpcServer]:
    """Serve collections and entities."""
    services = [
        Service(
            "lookalike.search.v1.CollectionService",
            collection_service_pb2_grpc.add_CollectionServiceServicer_to_server,
            FakeCollections(peers),  # type: ignore[abstract] # as above
        ),
        Service(
            "lookalike.search.v1.EntityService",
            entity_service_pb2_grpc.add_EntityServiceServicer_to_server,
            FakeEntities(peers),  # type: ignore[abstract] # as above
        ),
        Service(
            "lookalike.search.v1.SearchService",
            search_service_pb2_grpc.add_SearchServiceServicer_to_server,
            FakeSearches(peers),  # type: ignore[abstract] # as above
        ),
    ]
    server = GrpcServer(
        server_settings(port=port, auth=auth or AuthSettings()),
        server_name="search",
        services=services,
    )
    async with running(server):
        yield server
