"""Finds the entities closest to one query, or to several that are fused.

    resolve the collection → make a vector of each query, or find its words → search with each →
    drop what is too far → fuse → rerank → group, or cut the page → read what the page shows

Pages are cut here, from a list sorted by score and then by id, out of a window that never ends
between equal scores; the index's effort is fixed by the first page and travels in the token. So
pages fit together as long as nothing is written.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lookalike_common.errors import join_path
from lookalike_search.catalog import Catalog
from lookalike_search.commands.examples import Asked, Example, Examples, Target
from lookalike_search.commands.merging import Answer, FusionMerger, Merged, Merger, Window
from lookalike_search.commands.plan import Plan, Reranking, make_plan
from lookalike_search.commands.reranking import rerank_hits
from lookalike_search.commands.stopwatch import Stopwatch
from lookalike_search.commands.windows import Windows
from lookalike_search.concurrency import together
from lookalike_search.encoding import EncoderPort
from lookalike_search.fusion import Hit
from lookalike_search.grouping import HitGroup, group_hits
from lookalike_search.model import EntityRecord, Neighbor, Projection
from lookalike_search.output import OutputMask
from lookalike_search.queries import Query, SearchOrder, SearchResult
from lookalike_search.scoring import as_replied
from lookalike_search.store import VectorStore

_GROWTH: Final = 4
_MAX_BYTES: Final = 128 * 1024 * 1024
"""Of all windows of one search, estimated."""
_ROW_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All hits of a window that is wide enough, or as wide as it can be."""

    hits: Sequence[Hit]
    groups: Sequence[HitGroup]
    best_score: float | None
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """What is left out of a result although it is near."""

    ids: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.ids) + len(self.items)

    def covers(self, record: EntityRecord) -> bool:
        """Whether an entity is left out."""
        return record.id in self.ids or record.item in self.items

    def drop_from(self, window: Sequence[Neighbor]) -> Sequence[Neighbor]:
        """Return what is not left out."""
        if not (self.ids or self.items):
            return window
        return [each for each in window if not self.covers(each.record)]


class Searching:
    """The command behind `Search`, and what other commands search with."""

    def __init__(
        self,
        store: VectorStore,
        encoder: EncoderPort,
        examples: Examples,
        windows: Windows,
        catalog: Catalog,
    ) -> None:
        self._store = store
        self._windows = windows
        self._encoder = encoder
        self._catalog = catalog
        self._examples = examples

    async def search(self, tenant: str, order: SearchOrder) -> SearchResult:
        """Run one search."""
        return await self._catalog.using(
            tenant,
            order.collection_id,
            lambda collection: self._search(tenant, make_plan(order, collection)),
        )

    async def _search(self, tenant: str, plan: Plan) -> SearchResult:
        watch = Stopwatch()
        with watch.stage("encode"):
            targets = await self._examples.make(tenant, plan.collection, asked_by(plan))
        return await self.answer(tenant, plan, targets, watch=watch)

    async def answer(
        self,
        tenant: str,
        plan: Plan,
        targets: Sequence[Target],
        *,
        excluded: Exclusion | None = None,
        merger: Merger | None = None,
        watch: Stopwatch | None = None,
    ) -> SearchResult:
        """Search for the targets, one for each of the plan's queries, and return the plan's page.

        Unless told otherwise, entities that are examples are left out, and answers are fused.
        """
        if excluded is None:
            excluded = Exclusion(ids=frozenset(each.excluded for each in targets) - {""})
        if merger is None:
            weights = [each.weight for each in plan.order.queries]
            merger = FusionMerger(weights, plan.order.fusion)
        watch = watch or Stopwatch()
        found = await self._find(
            tenant, plan.retrieval, targets, excluded=excluded, merger=merger, watch=watch
        )
        if plan.reranking is not None:
            found = await self._rerank(tenant, plan, plan.reranking, found, watch)
        page = slice(plan.offset, plan.offset + plan.top_k)
        hits, groups = list(found.hits[page]), list(found.groups[page])
        if plan.order.group_by is not None:
            hits = []
        if not plan.in_one_go:
            with watch.stage("read"):
                hits, groups = await self._complete(tenant, plan, hits, groups)
        listed = found.hits if plan.order.group_by is None else found.groups
        return SearchResult(
            hits=tuple(_masked(each, plan.mask) for each in hits),
            groups=tuple(groups),
            offset=plan.offset,
            next_page_token=plan.next_token(len(listed)),
            abstained=found.best_score is not None and not found.hits,
            best_score=found.best_score,
            truncated=found.truncated,
            timings=watch.timings(),
        )

    async def _find(
        self,
        tenant: str,
        plan: Plan,
        targets: Sequence[Target],
        *,
        excluded: Exclusion,
        merger: Merger,
        watch: Stopwatch,
    ) -> _Found:
        """Search with a window that grows until it decides about the page."""
        projection = plan.projection
        if merger.vectors:
            projection = replace(projection, vectors=projection.vectors | merger.vectors)
        most = min(self._store.capabilities.max_window, _most_of_each(targets, projection))
        limit = min(most, plan.first_window(excluded=len(excluded)))
        while True:
            with watch.stage("store"):
                windows = await together(
                    [self._windows.find(tenant, plan, each, limit, projection) for each in targets]
                )
            with watch.stage("fuse"):
                others = [excluded.drop_from(window.neighbors) for window in windows]
                answers = [
                    _answer_of(window, some, query)
                    for window, some, query in zip(windows, others, plan.order.queries, strict=True)
                ]
                if merger.vectors:  # which means that they are compared
                    merged = await asyncio.to_thread(merger.merge, answers)
                else:
                    merged = merger.merge(answers)
                group_by = plan.order.group_by
                groups = group_hits(merged.hits, group_by) if group_by else []
            enough = all(each.exhausted for each in answers) or _decides(plan, merged, groups)
            if enough or limit >= most:
                return _Found(
                    hits=merged.hits,
                    groups=groups,
                    best_score=max((some[0].score for some in others if some), default=None),
                    truncated=not enough or any(each.truncated for each in windows),
                )
            limit = min(most, limit * _GROWTH)

    async def _rerank(
        self,
        tenant: str,
        plan: Plan,
        reranking: Reranking,
        found: _Found,
        watch: Stopwatch,
    ) -> _Found:
        """Put the best hits into the reranker's order, and into groups by that."""
        candidates: Sequence[Hit] = found.hits[: reranking.rerank.candidates]
        if not plan.retrieval.in_one_go:
            with watch.stage("read"):
                candidates, _ = await self._complete(tenant, plan.retrieval, candidates, [])
        with watch.stage("rerank"):
            hits, best = await rerank_hits(self._encoder, reranking, candidates)
        group_by = plan.order.group_by
        return _Found(
            hits=hits,
            groups=group_hits(hits, group_by) if group_by else [],
            best_score=found.best_score if best is None else best,
            truncated=False,
        )

    async def _complete(
        self, tenant: str, plan: Plan, hits: Sequence[Hit], groups: Sequence[HitGroup]
    ) -> tuple[list[Hit], list[HitGroup]]:
        """Read what the page shows of its entities; what was deleted meanwhile drops out."""
        shown = [*hits, *(hit for group in groups for hit in group.hits)]
        records = await self._store.get(
            tenant,
            plan.collection,
            [hit.record.id for hit in shown],
            projection=plan.mask.projection,
            freshness=plan.freshness,
        )

        def complete(some: Sequence[Hit]) -> list[Hit]:
            return [
                replace(hit, record=plan.mask.apply(records[hit.record.id]))
                for hit in some
                if hit.record.id in records
            ]

        whole = [replace(group, hits=tuple(complete(group.hits))) for group in groups]
        return complete(hits), [group for group in whole if group.hits]


def asked_by(plan: Plan, at: str = "") -> list[Asked]:
    """Return what a plan's queries ask for an example of."""
    return [
        Asked(each, join_path(at, f"queries[{index}]"), plan.freshness)
        for index, each in enumerate(plan.order.queries)
    ]


def _most_of_each(targets: Sequence[Target], projection: Projection) -> int:
    """Return how many neighbours of each target fit into memory together."""
    sizes = [each.field.dimensions for each in targets if isinstance(each, Example)]
    row = _ROW_BYTES + 4 * max(sizes, default=0) * len(projection.vectors)
    return max(1, _MAX_BYTES // (row * len(targets)))


def _answer_of(window: Window, others: Sequence[Neighbor], query: Query) -> Answer:
    """Return what counts of a window, `others` being what is not left out of it."""
    too_far = query.min_score is not None and as_replied(window.last) < query.min_score
    return Answer(
        neighbors=_wanted(others, query),
        last=-math.inf if window.equals_follow else window.last,
        exhausted=window.exhausted or too_far,
    )


def _masked(hit: Hit, mask: OutputMask) -> Hit:
    record = mask.apply(hit.record)
    return hit if record is hit.record else replace(hit, record=record)


def _wanted(others: Sequence[Neighbor], query: Query) -> Sequence[Neighbor]:
    least, most = query.min_score, query.max_score
    if least is None and most is None:
        return others
    return [
        each
        for each in others
        if (least is None or as_replied(each.score) >= least)
        and (most is None or as_replied(each.score) <= most)
    ]


def _decides(plan: Plan, merged: Merged, groups: Sequence[HitGroup]) -> bool:
    """Whether nothing beyond the window can change the page, nor whether there is another."""
    group_by = plan.order.group_by
    if group_by is None:
        return len(merged.hits) >= plan.needed and plan.end <= merged.settled
    if len(groups) < plan.needed:
        return False
    if any(len(each.hits) < group_by.size for each in groups[: plan.needed]):
        return False
    settled = {each.record.id for each in merged.hits[: merged.settled]}
    return groups[plan.end - 1].hits[0].record.id in settled
