"""Writers that keep their own record of what was acknowledged, whatever dies around them."""

from __future__ import annotations

import json
import math
import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from google.protobuf.json_format import MessageToDict, ParseDict

from lookalike.search.v1 import entity_pb2, entity_service_pb2
from lookalike.type.v1 import vector_pb2
from lookalike_client import Client, LookalikeError

NEW_ONES = 8
REWRITTEN = 4
_PAUSE = 0.05

Results = Sequence[entity_service_pb2.UpsertResult]
Send = Callable[[str, Sequence[entity_pb2.Entity]], Results]


class SendError(Exception):
    """There was no answer, or a refusal; nobody knows what was written."""


def by_grpc(client: Client) -> Send:
    """Return a way to write through the search service."""

    def send(collection: str, entities: Sequence[entity_pb2.Entity]) -> Results:
        try:
            return client.upsert(collection, entities).results
        except LookalikeError as error:
            raise SendError(error.code.name) from error

    return send


def by_http(address: str, limit: float) -> Send:
    """Return a way to write through the gateway; `limit` is in seconds."""

    def send(collection: str, entities: Sequence[entity_pb2.Entity]) -> Results:
        body = json.dumps({"entities": [MessageToDict(each) for each in entities]}).encode()
        url = f"http://{address}/v1/{collection}/entities:upsert"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=limit) as answer:  # noqa: S310 - our own gateway
                reply = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise SendError(json.load(error)["error"]["status"]) from error
        except OSError as error:  # the gateway is gone
            raise SendError("UNAVAILABLE") from error
        return ParseDict(reply, entity_service_pb2.UpsertEntitiesResponse()).results

    return send


@dataclass
class Known:
    """All that a writer knows of one entity."""

    acknowledged: int = 0
    """The revision whose write was acknowledged last; 0 before the first."""
    doubtful: set[int] = field(default_factory=set)
    """Revisions sent since, whose writes were not answered."""

    @property
    def possible(self) -> set[int]:
        """Revisions that may be stored."""
        return self.doubtful | ({self.acknowledged} if self.acknowledged else set())


class Writer:
    """Writes new entities and new revisions of old ones, until it is told to stop."""

    def __init__(self, number: int, collection: str, send: Send) -> None:
        self._number = number
        self._collection = collection
        self._send = send
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer-{number}")
        self._random = random.Random(number)
        self.record: dict[str, Known] = {}
        """By the entity's name."""
        self.answered = 0
        """Batches that were acknowledged."""
        self.errors: Counter[str] = Counter()
        """Codes of the batches, and of the entities, that were not."""
        self.defects: list[Exception] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        revision = 0
        try:
            while not self._stopping.is_set():
                revision += 1
                self._write(self._chosen(), revision)
        except Exception as error:  # noqa: BLE001 - the test raises it
            self.defects.append(error)

    def _chosen(self) -> list[str]:
        known = list(self.record)
        old = self._random.sample(known, min(REWRITTEN, len(known)))
        prefix = f"{self._collection}/entities/w{self._number}-"
        return [*old, *(f"{prefix}{len(known) + number}" for number in range(NEW_ONES))]

    def _write(self, names: Sequence[str], revision: int) -> None:
        for name in names:
            self.record.setdefault(name, Known()).doubtful.add(revision)
        try:
            results = self._send(self._collection, [revised(name, revision) for name in names])
        except SendError as error:
            self.errors[str(error)] += 1
            self._stopping.wait(_PAUSE)
            return
        for name, result in zip(names, results, strict=True):
            if result.HasField("entity"):
                assert result.entity.name == name
                self.record[name] = Known(revision)
            else:
                self.errors[result.error.message] += 1
        self.answered += 1


def revised(name: str, revision: int) -> entity_pb2.Entity:
    """Return an entity whose item, attributes and vector tell its revision."""
    entity = entity_pb2.Entity(name=name, item=name.rpartition("/")[2])
    entity.attributes.update({"revision": revision, "name": name})
    entity.vectors["vector"].CopyFrom(vector_of(revision))
    return entity


def vector_of(revision: int) -> vector_pb2.Vector:
    """Return the vector of a revision."""
    values = [math.cos(revision), math.sin(revision), 1]
    return vector_pb2.Vector(dense=vector_pb2.DenseVector(values=values))
