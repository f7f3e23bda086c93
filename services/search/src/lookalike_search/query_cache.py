"""The vectors of queries that were asked before, so that a repeated one needs no encoder.

A vector belongs to a content and to the fingerprint that the collection is bound to, so what is
kept is never wrong, whatever becomes of the encoder. It also belongs to a tenant: how fast an
answer comes would tell whether somebody else had asked the same. Entities are not kept: they are
encoded once. Two requests for the same content at the same time are both encoded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge

from lookalike_common.context import current_context
from lookalike_common.errors import LookalikeError
from lookalike_search.encoding import Content, EncoderPort
from lookalike_search.model import Bits, Task, Vector

Key: TypeAlias = tuple[str, str, bytes]
"""Tenant, fingerprint, and digest of the content."""

ENTRY_BYTES: Final = 512
"""What an entry takes beside its vector."""
_OFF_LOOP: Final = 256 * 1024
"""Bytes whose digest would hold up the event loop."""


class QueryCacheMetrics:
    """What the cache tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.hits = Counter(
            "lookalike_search_query_cache_hits",
            "Contents of queries that needed no encoder.",
            registry=registry,
        )
        self.misses = Counter(
            "lookalike_search_query_cache_misses",
            "Contents of queries that were looked for in vain.",
            registry=registry,
        )
        self.size = Gauge("lookalike_search_query_cache_bytes", "What is kept.", registry=registry)


class QueryCache:
    """The vectors used last, up to a number of bytes. For one event loop."""

    def __init__(self, max_bytes: int, metrics: QueryCacheMetrics) -> None:
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._vectors: OrderedDict[Key, Vector] = OrderedDict()
        self.size = 0
        """Bytes of what is kept."""

    def get(self, key: Key) -> Vector | None:
        """Return what was kept, which counts as used now."""
        found = self._vectors.get(key)
        if found is None:
            self._metrics.misses.inc()
            return None
        self._vectors.move_to_end(key)
        self._metrics.hits.inc()
        return found

    def put(self, key: Key, vector: Vector) -> None:
        """Keep a vector, at the cost of those that were not used for longest."""
        size = vector.nbytes + ENTRY_BYTES
        if key in self._vectors or size > self._max_bytes:
            return
        if not isinstance(vector, Bits):
            vector.flags.writeable = False
        self._vectors[key] = vector
        self.size += size
        while self.size > self._max_bytes:
            _, dropped = self._vectors.popitem(last=False)
            self.size -= dropped.nbytes + ENTRY_BYTES
        self._metrics.size.set(self.size)


class RememberingEncoder:
    """An `EncoderPort` that asks another one for what it does not remember."""

    def __init__(self, encoder: EncoderPort, cache: QueryCache) -> None:
        self._encoder = encoder
        self._cache = cache
        self.describe = encoder.describe
        self.rerank = encoder.rerank
        self.match_structure = encoder.match_structure

    async def encode(
        self, encoder: str, fingerprint: str, contents: Sequence[Content], task: Task
    ) -> list[Vector | LookalikeError]:
        """See `EncoderPort`. Errors are not kept."""
        if task is not Task.QUERY:
            return await self._encoder.encode(encoder, fingerprint, contents, task)
        tenant = current_context().tenant
        keys: list[Key] = [(tenant, fingerprint, each) for each in await _digests(contents)]
        known: dict[Key, Vector | LookalikeError] = {}
        unknown: dict[Key, Content] = {}
        for key, content in zip(keys, contents, strict=True):
            found = self._cache.get(key)
            if found is None:
                unknown[key] = content
            else:
                known[key] = found
        if unknown:
            answers = await self._encoder.encode(encoder, fingerprint, list(unknown.values()), task)
            for key, answer in zip(unknown, answers, strict=True):
                known[key] = answer
                if not isinstance(answer, LookalikeError):
                    self._cache.put(key, answer)
        return [known[key] for key in keys]


async def _digests(contents: Sequence[Content]) -> list[bytes]:
    if sum(len(each.data) for each in contents) > _OFF_LOOP:
        return await asyncio.to_thread(lambda: [each.digest() for each in contents])
    return [each.digest() for each in contents]
