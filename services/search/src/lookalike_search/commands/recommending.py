"""Finds entities like good examples and unlike bad ones.

    make a vector of each example → make of them what is searched for → search with each → merge

What is searched for, and how the answers are merged, is the strategy; the rest is `searching`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias, cast

from lookalike_common.errors import InvalidArgumentError
from lookalike_search.catalog import Catalog
from lookalike_search.commands.examples import Asked, Example, Examples
from lookalike_search.commands.merging import Merger
from lookalike_search.commands.plan import Plan, make_plan
from lookalike_search.commands.searching import Exclusion, Searching
from lookalike_search.commands.stopwatch import Stopwatch
from lookalike_search.commands.strategies import BestScore, Turns
from lookalike_search.interests import bundle, point_of, sort_into_interests
from lookalike_search.model import Bits, Dense, StoredCollection, VectorFieldSpec
from lookalike_search.queries import Query, RecommendOrder, SearchResult, Strategy
from lookalike_search.vectors import check_vector

_OFF_LOOP: Final = 32
"""Examples whose mean would hold up the event loop."""

_Wanted: TypeAlias = tuple[list[Example], Merger | None]
"""What is searched for, and how the answers are merged."""


class Recommending:
    """The command behind `Recommend`."""

    def __init__(self, searching: Searching, examples: Examples, catalog: Catalog) -> None:
        self._searching = searching
        self._examples = examples
        self._catalog = catalog

    async def recommend(self, tenant: str, order: RecommendOrder) -> SearchResult:
        """Return a page of recommendations."""
        return await self._catalog.using(
            tenant,
            order.search.collection_id,
            lambda collection: self._recommend(tenant, order, collection),
        )

    async def _recommend(
        self, tenant: str, order: RecommendOrder, collection: StoredCollection
    ) -> SearchResult:
        plan = make_plan(order.search, collection)
        watch = Stopwatch()
        with watch.stage("encode"):
            asked = [
                *_asked(order.positive, "positive", plan),
                *_asked(order.negative, "negative", plan),
            ]
            targets = await self._examples.make(tenant, collection, asked)
            made = [each for each in targets if isinstance(each, Example)]
            _check_field(made, asked, order.strategy)
            good, bad = made[: len(order.positive)], made[len(order.positive) :]
            if len(made) > _OFF_LOOP:
                wanted, merger = await asyncio.to_thread(_wanted, order, good, bad)
            else:
                wanted, merger = _wanted(order, good, bad)
        # A query without a vector has been refused before: `made` has one example a query.
        return await self._searching.answer(
            tenant,
            plan.searching_for(wanted_query(plan, each) for each in wanted),
            wanted,
            excluded=_exclusion(order, made),
            merger=merger,
            watch=watch,
        )


def wanted_query(plan: Plan, example: Example) -> Query:
    """Return the plan's only query, asking for another vector."""
    return replace(plan.order.queries[0], source=example.vector, vector_field=example.field.name)


def _asked(queries: Sequence[Query], name: str, plan: Plan) -> list[Asked]:
    return [Asked(each, f"{name}[{index}]", plan.freshness) for index, each in enumerate(queries)]


def _check_field(made: Sequence[Example], asked: Sequence[Asked], strategy: Strategy) -> None:
    """Refuse examples that cannot be compared, and a mean of what has none."""
    first = made[0]
    for example, each in zip(made, asked, strict=True):
        if example.field.name != first.field.name:
            raise InvalidArgumentError(
                f"is {example.field.name}, the first example's is {first.field.name}; one vector "
                "field is searched",
                field=f"{each.at}.vector_field",
            )
    if strategy is not Strategy.BEST_SCORE and isinstance(first.vector, Bits):
        raise InvalidArgumentError(
            "vectors of bits have no mean; use STRATEGY_BEST_SCORE", field="strategy"
        )


def _exclusion(order: RecommendOrder, made: Sequence[Example]) -> Exclusion:
    examples = () if order.include_examples else (each.excluded for each in made)
    return Exclusion(
        ids=(order.excluded_ids | frozenset(examples)) - {""}, items=order.excluded_items
    )


def _wanted(order: RecommendOrder, good: Sequence[Example], bad: Sequence[Example]) -> _Wanted:
    """Return what the strategy searches for, and how it merges the answers."""
    field = good[0].field
    if order.strategy is Strategy.BEST_SCORE:
        merger = BestScore(field, [each.vector for each in good], [each.vector for each in bad])
        return list(good), merger
    weights = [each.weight for each in (*order.positive, *order.negative)]
    liked = bundle(_dense(good), weights[: len(good)], field.metric)
    disliked = bundle(_dense(bad), weights[len(good) :], field.metric) if bad else None
    if order.strategy is Strategy.AVERAGE:
        return [_at_point(field, point_of(liked, disliked))], None
    interests = sort_into_interests(liked, order.interests)
    return [_at_point(field, point_of(each, disliked)) for each in interests], Turns()


def _dense(examples: Sequence[Example]) -> list[Dense]:
    return [cast(Dense, each.vector) for each in examples]


def _at_point(field: VectorFieldSpec, point: Dense) -> Example:
    try:
        return Example(field, check_vector(point, field, "positive"))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            "the examples cancel each other out; use STRATEGY_BEST_SCORE", field="positive"
        ) from error
