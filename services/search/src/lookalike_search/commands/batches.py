"""Runs many searches of one collection in one go.

    plan each → make the vectors of all, contents for one encoder together → answer each

The searches are answered in the same turn of the event loop, so that those that ask alike leave
as one request to the store. A bad one fails alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

from lookalike_common.errors import BackendUnavailableError, LookalikeError, NotFoundError
from lookalike_search.catalog import COLLECTION, Catalog
from lookalike_search.commands.examples import Asked, Examples, Target, succeeded
from lookalike_search.commands.plan import Plan, make_plan
from lookalike_search.commands.searching import Searching, asked_by
from lookalike_search.commands.stopwatch import Stopwatch
from lookalike_search.concurrency import together
from lookalike_search.model import StoredCollection
from lookalike_search.queries import SearchOrder, SearchResult

Result: TypeAlias = SearchResult | LookalikeError


class BatchSearching:
    """The command behind `BatchSearch`."""

    def __init__(self, searching: Searching, examples: Examples, catalog: Catalog) -> None:
        self._searching = searching
        self._examples = examples
        self._catalog = catalog

    async def search(
        self, tenant: str, collection_id: str, orders: Sequence[SearchOrder | LookalikeError]
    ) -> list[Result]:
        """Return one result an order, in their order; errors are at `requests[i]`.

        What is wrong with all of them is raised: the collection is gone, or a backend away.
        """

        async def work(collection: StoredCollection) -> list[Result]:
            results = await self._search_all(tenant, collection, orders)
            failures = [each for each in results if isinstance(each, LookalikeError)]
            for each in failures:
                if isinstance(each, NotFoundError) and _is_of_all(each):
                    raise each
            if all(isinstance(each, BackendUnavailableError) for each in results):
                raise failures[0]
            return results

        return await self._catalog.using(tenant, collection_id, work)

    async def _search_all(
        self,
        tenant: str,
        collection: StoredCollection,
        orders: Sequence[SearchOrder | LookalikeError],
    ) -> list[Result]:
        plans = [_try_plan(each, collection, index) for index, each in enumerate(orders)]
        started = time.perf_counter()
        asked = [_asked(each, index) for index, each in enumerate(plans)]
        made = await self._examples.make_each(
            tenant, collection, [each for some in asked for each in some]
        )
        spent = time.perf_counter() - started
        rest = iter(made)
        parts = [[next(rest) for _ in some] for some in asked]
        return await together(
            [
                self._answer(tenant, index, plan, part, Stopwatch({"encode": spent}))
                for index, (plan, part) in enumerate(zip(plans, parts, strict=True))
            ]
        )

    async def _answer(
        self,
        tenant: str,
        index: int,
        plan: Plan | LookalikeError,
        made: Sequence[Target | LookalikeError],
        watch: Stopwatch,
    ) -> Result:
        if isinstance(plan, LookalikeError):
            return plan
        try:
            targets = succeeded(made)
        except LookalikeError as error:
            return error
        try:
            return await self._searching.answer(tenant, plan, targets, watch=watch)
        except LookalikeError as error:
            return error.at(f"requests[{index}]") if error.field else error


def _asked(plan: Plan | LookalikeError, index: int) -> list[Asked]:
    return [] if isinstance(plan, LookalikeError) else asked_by(plan, f"requests[{index}]")


def _try_plan(
    order: SearchOrder | LookalikeError, collection: StoredCollection, index: int
) -> Plan | LookalikeError:
    if isinstance(order, LookalikeError):
        return order
    try:
        return make_plan(order, collection)
    except LookalikeError as error:
        return error.at(f"requests[{index}]")


def _is_of_all(error: NotFoundError) -> bool:
    """Whether it is the searched collection that is gone, and no other that a query names."""
    return error.resource_type == COLLECTION and not error.resource_name
