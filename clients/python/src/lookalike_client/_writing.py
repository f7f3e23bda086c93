"""Writes any number of entities over a stream that is taken up again where it broke.

Batches that were sent and not answered are kept, and sent again in their order: writing the same
twice changes nothing, and of the same name the last one wins.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice

import grpc

from lookalike.search.v1 import entity_pb2, entity_service_pb2
from lookalike_client.errors import (
    ConflictError,
    DeadlineError,
    ExhaustedError,
    LookalikeError,
    UnavailableError,
)

Batch = list[entity_pb2.Entity]
Requests = Iterator[entity_service_pb2.UpsertEntitiesRequest]
Replies = Generator[entity_service_pb2.UpsertEntitiesResponse, None, None]

MAX_BATCH = 500
"""Entities in a message, unless the caller says otherwise."""

_MAX_AHEAD = 4
"""Batches that are sent before their answers have come."""
_FIRST_PAUSE = timedelta(seconds=0.5)
_PASSING = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


def write_in_batches(
    open_stream: Callable[[Requests], Replies],
    collection: str,
    entities: Iterable[entity_pb2.Entity],
    *,
    batch_size: int,
    patience: timedelta,
) -> Iterator[entity_service_pb2.UpsertResult]:
    """Yield a result for each entity, in order; see `Client.write`."""
    backlog = _Backlog(_batches(entities, batch_size))
    progress = time.monotonic()
    while True:
        try:
            with closing(open_stream(backlog.requests(collection))) as replies:
                for reply in replies:
                    pause = reply.backoff.ToTimedelta()
                    _raise_passing_failure(reply, pause)
                    backlog.answered()
                    yield from reply.results
                    time.sleep(pause.total_seconds())
                    progress = time.monotonic()
        except (UnavailableError, ExhaustedError, DeadlineError, ConflictError) as error:
            if time.monotonic() - progress > patience.total_seconds():
                raise
            pause = error.retry_after or _FIRST_PAUSE
        else:
            if backlog.failure is not None:
                raise backlog.failure
            return
        finally:
            backlog.close_stream()
        time.sleep(pause.total_seconds())


class _Backlog:
    """What is to be sent: first what has no answer yet, then new batches.

    gRPC takes requests in a thread of its own, which may outlive its stream by one request.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._changed = threading.Condition()
        self._unanswered: deque[Batch] = deque()
        self._sent = 0
        """How many of the unanswered were sent on this stream."""
        self._stream = 0
        self.failure: Exception | None = None
        """What the caller's own iterator raised, which ended the batches."""

    def requests(self, collection: str) -> Requests:
        """What is sent on a stream, until it is closed or all is sent."""
        stream = self._stream
        while (batch := self._next(stream)) is not None:
            yield entity_service_pb2.UpsertEntitiesRequest(collection=collection, entities=batch)

    def answered(self) -> None:
        """Forget the first batch: it is written."""
        with self._changed:
            self._unanswered.popleft()
            self._sent -= 1
            self._changed.notify_all()

    def close_stream(self) -> None:
        """Send nothing on this stream any more; the next one begins with what has no answer."""
        with self._changed:
            self._stream += 1
            self._sent = 0
            self._changed.notify_all()

    def _next(self, stream: int) -> Batch | None:
        with self._changed:
            self._changed.wait_for(lambda: stream != self._stream or self._sent < _MAX_AHEAD)
            if stream != self._stream:
                return None
            if self._sent == len(self._unanswered):
                batch = self._take()
                if batch is None:
                    return None
                self._unanswered.append(batch)
            self._sent += 1
            return self._unanswered[self._sent - 1]

    def _take(self) -> Batch | None:
        try:
            return next(self._batches, None)
        except Exception as error:  # noqa: BLE001 - gRPC would hide it; it is raised to the caller
            self.failure = error
            return None


def _batches(entities: Iterable[entity_pb2.Entity], size: int) -> Iterator[Batch]:
    source = iter(entities)
    while batch := list(islice(source, size)):
        yield batch


def _raise_passing_failure(
    reply: entity_service_pb2.UpsertEntitiesResponse, pause: timedelta
) -> None:
    """Raise why the batch as a whole is to be sent again after the pause, if it is."""
    if not pause:
        return
    errors = [LookalikeError.from_status(each.error) for each in reply.results if each.error.code]
    of_all = next((each for each in errors if _is_of_all(each)), None)
    if of_all is not None:
        of_all.retry_after = pause
        raise of_all


def _is_of_all(error: LookalikeError) -> bool:
    """Whether a batch failed for what has nothing to do with its entities."""
    if error.code is grpc.StatusCode.ABORTED:
        return "." not in error.field  # else an entity is of an older generation
    return error.code in _PASSING
