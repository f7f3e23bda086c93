"""Searches with edited copies of photos, and notes whether the original came first."""

import hashlib
import random
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lookalike.search.v1 import search_service_pb2
from lookalike_client.client import Client
from lookalike_client.demo import edits
from lookalike_client.demo.photos import PhotoSet

SEED = 20
_AT_ONCE = 8
"""Searches in flight: enough for the services to batch them."""


@dataclass(frozen=True)
class Found:
    """One hit: the key of its item, and its score."""

    item: str
    score: float


@dataclass(frozen=True)
class Query:
    """One search with an edited copy, and what it found."""

    original: str
    """Key of the photo that was edited."""
    edited: bytes
    hits: Sequence[Found]
    original_first: bool


@dataclass(frozen=True)
class Result:
    """All searches with one kind of edit."""

    edit: str
    queries: Sequence[Query]

    @property
    def share_first(self) -> float:
        """How often the original came first, from 0 to 1."""
        return statistics.fmean(query.original_first for query in self.queries)

    @property
    def median_score(self) -> float:
        """Median of the best hits' scores."""
        return statistics.median(q.hits[0].score if q.hits else 0.0 for q in self.queries)


def run(client: Client, collection: str, photos: PhotoSet, *, sample: int) -> list[Result]:
    """Search with every edit of a random sample of the photos, the same one every time."""
    paths = photos.paths()
    chosen = sorted(random.Random(SEED).sample(paths, min(sample, len(paths))))  # noqa: S311 - no secret
    twins = _Twins(photos, paths)

    def ask(path: Path, edit: str) -> Query:
        edited = edits.EDITS[edit](edits.upright(path.read_bytes()))
        reply = client.search_image(collection, edited, top_k=5)
        hits = _hits(reply)
        first = bool(hits) and twins.same(hits[0].item, path)
        return Query(photos.key(path), edited, hits, original_first=first)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [
            Result(edit, list(pool.map(ask, chosen, [edit] * len(chosen)))) for edit in edits.EDITS
        ]


def _hits(reply: search_service_pb2.SearchResponse) -> list[Found]:
    return [Found(hit.entity.item, hit.score) for hit in reply.hits]


class _Twins:
    """Knows which photos are the same file under two names: either counts as the original."""

    def __init__(self, photos: PhotoSet, paths: Sequence[Path]) -> None:
        self._bytes = {photos.key(p): hashlib.sha256(p.read_bytes()).digest() for p in paths}
        self._photos = photos

    def same(self, item: str, path: Path) -> bool:
        return self._bytes.get(item) == self._bytes[self._photos.key(path)]
