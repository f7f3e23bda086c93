"""The smallest search service: it keeps what it was asked, and answers as it was told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from lookalike.search.v1 import (
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_service_pb2,
    entity_service_pb2_grpc,
    search_service_pb2_grpc,
)
from lookalike.type.v1 import outcome_pb2


@dataclass
class SearchPeer:
    """Search's services on one real server."""

    port: int = 0
    asked: list[Message] = field(default_factory=list)
    """Requests, in order."""
    answers: dict[str, Message] = field(default_factory=dict)
    """By the rpc's name; without one, the empty reply."""
    streams: int = 0
    """Streams of writes that were opened."""
    written: dict[str, list[int]] = field(default_factory=dict)
    """For each item the batches' numbers that it was written with."""
    break_after: int = 0
    """A stream breaks after so many batches, once."""
    busy: int = 0
    """So many batches are answered with a pause, and not written."""
    refusal: grpc.StatusCode = grpc.StatusCode.RESOURCE_EXHAUSTED
    """What they are answered with."""

    def stream(
        self, requests: Iterator[entity_service_pb2.UpsertEntitiesRequest], context: Any
    ) -> Iterator[entity_service_pb2.UpsertEntitiesResponse]:
        """Answer StreamUpsertEntities."""
        self.streams += 1
        for number, request in enumerate(requests):
            if self.busy:
                self.busy -= 1
                yield _refused(request, self.refusal)
                continue
            if self.break_after and number == self.break_after:
                self.break_after = 0
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            self.asked.append(request)
            for each in request.entities:
                self.written.setdefault(each.item, []).append(len(self.asked))
            yield _written(request)


def _written(
    request: entity_service_pb2.UpsertEntitiesRequest,
) -> entity_service_pb2.UpsertEntitiesResponse:
    return entity_service_pb2.UpsertEntitiesResponse(
        results=[
            entity_service_pb2.UpsertResult(error=status_pb2.Status(code=3, message="is bad"))
            if each.item == "bad"
            else entity_service_pb2.UpsertResult(
                entity=entity_service_pb2.UpsertedEntity(
                    name=f"{request.collection}/entities/{each.item}",
                    outcome=outcome_pb2.OUTCOME_CREATED,
                )
            )
            for each in request.entities
        ]
    )


def _refused(
    request: entity_service_pb2.UpsertEntitiesRequest, code: grpc.StatusCode
) -> entity_service_pb2.UpsertEntitiesResponse:
    full = status_pb2.Status(code=code.value[0], message="full")
    reply = entity_service_pb2.UpsertEntitiesResponse(
        results=[entity_service_pb2.UpsertResult(error=full) for _ in request.entities]
    )
    reply.backoff.FromTimedelta(timedelta(milliseconds=5))
    return reply


class _Recorder:
    """A servicer that has every method of the API: it keeps the request, and answers."""

    def __init__(self, peer: SearchPeer, replies: dict[str, type[Message]]) -> None:
        self._peer = peer
        self._replies = replies

    def __getattr__(self, rpc: str) -> Any:
        if rpc == "StreamUpsertEntities":
            return self._peer.stream

        def answer(request: Message, _context: object) -> Message:
            self._peer.asked.append(request)
            return self._peer.answers.get(rpc) or self._replies[rpc]()

        return answer


@contextmanager
def search_peer() -> Iterator[SearchPeer]:
    """Run one."""
    peer = SearchPeer()
    server = grpc.server(ThreadPoolExecutor(4))
    for module, name in (
        (collection_service_pb2_grpc, "CollectionService"),
        (entity_service_pb2_grpc, "EntityService"),
        (search_service_pb2_grpc, "SearchService"),
    ):
        pool = collection_service_pb2.DESCRIPTOR.pool
        service = pool.FindServiceByName(f"lookalike.search.v1.{name}")
        replies = {each.name: GetMessageClass(each.output_type) for each in service.methods}
        getattr(module, f"add_{name}Servicer_to_server")(_Recorder(peer, replies), server)
    peer.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield peer
    finally:
        server.stop(0).wait()
