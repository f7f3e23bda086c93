"""Finds the entities closest to one query, or to several that are fused.

    resolve the collection → make a vector of each query, or find its words → search with each →
    drop what is too far → fuse → rerank → group, or cut the page → read what the page shows

Pages are cut here, from a list sorted by score and then by id, out of a window that never ends
between equal scores; the index's effort is fixed by the first page and travels in the token. So
pages fit together as long as nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lookalike_search.catalog import Catalog
from lookalike_search.commands.examples import Example, Examples, Lookup
from lookalike_search.commands.plan import Plan, Reranking, make_plan
from lookalike_search.commands.reranking import rerank_hits
from lookalike_search.commands.stopwatch import Stopwatch
from lookalike_search.concurrency import together
from lookalike_search.encoding import EncoderPort
from lookalike_search.fusion import Hit, fuse, single
from lookalike_search.grouping import HitGroup, group_hits
from lookalike_search.model import Neighbor
from lookalike_search.output import OutputMask
from lookalike_search.queries import Query, SearchOrder, SearchResult
from lookalike_search.scoring import as_replied
from lookalike_search.store import VectorStore

_GROWTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All hits of a window that is wide enough, or as wide as it can be."""

    hits: Sequence[Hit]
    groups: Sequence[HitGroup]
    best_score: float | None
    truncated: bool


class Searching:
    """The command behind `Search`."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog
        self._examples = Examples(store, encoder, catalog)

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
            examples = await self._examples.make(
                tenant, plan.collection, plan.order.queries, plan.freshness
            )
        found = await self._find(tenant, plan.retrieval, examples, watch)
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
        examples: Sequence[Example | Lookup],
        watch: Stopwatch,
    ) -> _Found:
        """Search with a window that grows until it decides about the page."""
        most = self._store.capabilities.max_window
        excluding = any(each.excluded for each in examples)
        limit = min(most, plan.first_window(excluding=excluding))
        while True:
            with watch.stage("store"):
                answers = await together(
                    [self._search_one(tenant, plan, each, limit) for each in examples]
                )
            with watch.stage("fuse"):
                hits, best = _merge(plan, examples, answers)
                group_by = plan.order.group_by
                groups = group_hits(hits, group_by) if group_by else []
            exhausted = all(
                len(answer) < limit or _all_too_far(answer, query)
                for answer, query in zip(answers, plan.order.queries, strict=True)
            )
            enough = exhausted or _decides(plan, hits, groups, answers)
            if enough or limit >= most:
                return _Found(hits=hits, groups=groups, best_score=best, truncated=not enough)
            limit = min(most, limit * _GROWTH)

    async def _search_one(
        self, tenant: str, plan: Plan, example: Example | Lookup, limit: int
    ) -> list[Neighbor]:
        if isinstance(example, Lookup):
            return await self._store.keyword_search(
                tenant,
                plan.collection,
                example.attribute,
                example.words,
                limit=limit,
                where=plan.where,
                projection=plan.projection,
                freshness=plan.freshness,
            )
        return await self._store.search(
            tenant,
            plan.collection,
            example.field.name,
            example.vector,
            limit=limit,
            where=plan.where,
            projection=plan.projection,
            freshness=plan.freshness,
            params=plan.params,
        )

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


def _merge(
    plan: Plan, examples: Sequence[Example | Lookup], answers: Sequence[Sequence[Neighbor]]
) -> tuple[list[Hit], float | None]:
    """Return one list of what is near enough, and the best score of anything."""
    excluded = {each.excluded for each in examples if each.excluded}
    others = [[each for each in answer if each.record.id not in excluded] for answer in answers]
    best = max((answer[0].score for answer in others if answer), default=None)
    queries = plan.order.queries
    near = [
        [each for each in answer if _is_wanted(each, query)]
        for answer, query in zip(others, queries, strict=True)
    ]
    if len(near) == 1:
        return single(near[0]), best
    return fuse(near, [each.weight for each in queries], plan.order.fusion), best


def _masked(hit: Hit, mask: OutputMask) -> Hit:
    record = mask.apply(hit.record)
    return hit if record is hit.record else replace(hit, record=record)


def _is_wanted(neighbor: Neighbor, query: Query) -> bool:
    score = as_replied(neighbor.score)
    return (query.min_score is None or score >= query.min_score) and (
        query.max_score is None or score <= query.max_score
    )


def _all_too_far(answer: Sequence[Neighbor], query: Query) -> bool:
    """Whether whatever comes after this answer cannot reach the query's `min_score`."""
    return (
        query.min_score is not None
        and bool(answer)
        and as_replied(answer[-1].score) < query.min_score
    )


def _decides(
    plan: Plan,
    hits: Sequence[Hit],
    groups: Sequence[HitGroup],
    answers: Sequence[Sequence[Neighbor]],
) -> bool:
    """Whether nothing beyond the window can change the page.

    For one query that means: the page's last hit is better than the window's last neighbour, so
    that none of its equals was cut off.
    """
    group_by = plan.order.group_by
    listed = [each.hits[0] for each in groups] if group_by else hits
    if len(listed) < plan.needed:
        return False
    if group_by and any(len(each.hits) < group_by.size for each in groups[: plan.needed]):
        return False
    return len(answers) > 1 or listed[plan.end - 1].score > answers[0][-1].score
