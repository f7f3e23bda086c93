"""Results that were made before, by what they were made of.

Off unless a size is set: how fast an answer comes tells whether somebody encoded the same content
before, whoever it was. Two requests with the same content at the same time are both run; what is
saved by making one wait is not worth that one caller's leaving or priority concerns another.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge

from lookalike_encoder.content import Answer, Encoded, Item, Outcome, Timings

EncodeItems = Callable[[Sequence[Item]], Awaitable[Answer]]

_ENTRY_BYTES = 512
"""What an entry takes beside its arrays and texts."""
_OFF_LOOP_BYTES = 256 << 10
_NOTHING_RAN = Answer((), Timings(timedelta(0), timedelta(0), timedelta(0)), 0)


class CacheMetrics:
    """What the cache tells Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("encoder",)
        self.hits = Counter(
            "lookalike_encoder_cache_hits",
            "Items answered without a run.",
            labels,
            registry=registry,
        )
        self.misses = Counter(
            "lookalike_encoder_cache_misses", "Items looked for in vain.", labels, registry=registry
        )
        self.size = Gauge("lookalike_encoder_cache_bytes", "What is kept.", registry=registry)


class ResultCache:
    """The results used last, of all encoders together, up to a number of bytes. For one loop."""

    def __init__(self, max_bytes: int, metrics: CacheMetrics) -> None:
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._results: OrderedDict[bytes, Encoded] = OrderedDict()
        self.size = 0
        """Bytes of what is kept."""

    def get(self, key: bytes) -> Encoded | None:
        """Return what was kept, which counts as used now."""
        if (found := self._results.get(key)) is not None:
            self._results.move_to_end(key)
        return found

    def put(self, key: bytes, result: Encoded) -> None:
        """Keep a result, at the cost of those that were not used for longest."""
        size = _size(result)
        if key in self._results or size > self._max_bytes:
            return
        vectors = result.vectors.copy()  # it may be a view of the output of a whole run
        vectors.flags.writeable = False
        self._results[key] = dataclasses.replace(result, vectors=vectors)
        self.size += size
        while self.size > self._max_bytes:
            _, dropped = self._results.popitem(last=False)
            self.size -= _size(dropped)
        self._metrics.size.set(self.size)

    def of_encoder(self, name: str, fingerprint: str) -> EncoderCache:
        """Return the part of the cache that holds one encoder's results."""
        hits, misses = self._metrics.hits.labels(name), self._metrics.misses.labels(name)
        return EncoderCache(self, fingerprint, hits, misses)


class EncoderCache:
    """The results of one encoder; encoders with the same fingerprint share them."""

    def __init__(
        self, results: ResultCache, fingerprint: str, hits: Counter, misses: Counter
    ) -> None:
        self._results = results
        self._fingerprint = fingerprint.encode()
        self._hits, self._misses = hits, misses

    async def encode(self, items: Sequence[Item], encode: EncodeItems) -> Answer:
        """Answer from what is known, and have the rest encoded; errors are not kept.

        Timings and batch size are those of the rest; zero if there is none.
        """
        keys = await self._keys(items)
        known: dict[int, Outcome] = {}
        for index, key in enumerate(keys):
            if key is not None and (found := self._results.get(key)) is not None:
                known[index] = found
        rest = [index for index in range(len(items)) if index not in known]
        self._hits.inc(len(known))
        self._misses.inc(len(rest))
        answer = await encode([items[index] for index in rest]) if rest else _NOTHING_RAN
        for index, outcome in zip(rest, answer.outcomes, strict=True):
            known[index] = outcome
            key = keys[index]
            if key is not None and isinstance(outcome, Encoded):
                self._results.put(key, outcome)
        return dataclasses.replace(
            answer, outcomes=tuple(known[each] for each in range(len(items)))
        )

    async def _keys(self, items: Sequence[Item]) -> list[bytes | None]:
        if sum(item.content.size for item in items) > _OFF_LOOP_BYTES:
            return await asyncio.to_thread(self._digest_all, items)
        return self._digest_all(items)

    def _digest_all(self, items: Sequence[Item]) -> list[bytes | None]:
        return [item_key(self._fingerprint, item) for item in items]


def item_key(fingerprint: bytes, item: Item) -> bytes | None:
    """Hash all that a result depends on: SHA-256 over the encoder and every field of the item.

    None where a field is of a kind that is not known here.
    """
    digest = hashlib.sha256(fingerprint)
    try:
        for part in _parts(item):
            digest.update(part)
    except TypeError:
        return None
    return digest.digest()


def _parts(value: object) -> Iterator[bytes]:
    """Yield a value with its types and lengths, so that no two values read the same."""
    if dataclasses.is_dataclass(value):
        inner = [getattr(value, each.name) for each in dataclasses.fields(value)]
    elif isinstance(value, tuple | list):
        inner = list(value)
    else:
        data = _as_bytes(value)
        yield f"{type(value).__name__}:{len(data)}:".encode()
        yield data
        return
    yield f"{type(value).__name__}[{len(inner)}]".encode()
    for each in inner:
        yield from _parts(each)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, Enum):
        return value.name.encode()
    if value is None or isinstance(value, int | float | timedelta):
        return repr(value).encode()
    raise TypeError(f"no key is made of {type(value)}")


def _size(result: Encoded) -> int:
    return int(result.vectors.nbytes) + 4 * len(result.canonical) + _ENTRY_BYTES
