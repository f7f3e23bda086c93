"""Tells the label of something by the vote of its nearest neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lookalike_common.errors import InvalidArgumentError
from lookalike_search.attributes import check_attribute_name
from lookalike_search.catalog import Catalog
from lookalike_search.commands.examples import Asked, Examples
from lookalike_search.commands.plan import make_plan
from lookalike_search.commands.searching import Searching
from lookalike_search.filters import AllOf, Field, Origin, Present
from lookalike_search.model import AttributeType, CollectionSpec, StoredCollection
from lookalike_search.queries import ClassifyOrder
from lookalike_search.voting import Classification, count_votes

_MANY_VALUES: Final = frozenset({AttributeType.STRING_LIST, AttributeType.JSON})


class Classifying:
    """The command behind `Classify`."""

    def __init__(self, searching: Searching, examples: Examples, catalog: Catalog) -> None:
        self._searching = searching
        self._examples = examples
        self._catalog = catalog

    async def classify(self, tenant: str, order: ClassifyOrder) -> Classification:
        """Return what the neighbours say, be it enough or not."""
        return await self._catalog.using(
            tenant,
            order.search.collection_id,
            lambda collection: self._classify(tenant, order, collection),
        )

    async def _classify(
        self, tenant: str, order: ClassifyOrder, collection: StoredCollection
    ) -> Classification:
        label = _label_field(order.label, collection.spec)
        plan = make_plan(order.search, collection)
        mask = plan.mask
        labelled = Present(label)
        plan = replace(
            plan,
            where=AllOf((plan.where, labelled)) if plan.where is not None else labelled,
            mask=mask.with_attribute(order.label),
        )
        asked = [Asked(plan.order.queries[0], "query", plan.freshness)]
        made = await self._examples.make(tenant, collection, asked)
        found = await self._searching.answer(tenant, plan, made)
        voters = [each for each in found.hits if each.score > 0.0]
        candidates = count_votes(voters, order.label)
        said = Classification(
            candidates=candidates,
            supporters=tuple(replace(each, record=mask.apply(each.record)) for each in voters),
            best_score=found.best_score,
        )
        sure = (
            bool(candidates)
            and said.confidence >= order.min_confidence
            and said.margin >= order.min_margin
        )
        return replace(said, matched=sure)


def _label_field(name: str, spec: CollectionSpec) -> Field:
    """Return the attribute that holds the label, or raise why it cannot."""
    check_attribute_name(name, "label")
    declared = spec.attribute(name)
    if declared is None:
        return Field(name, (), AttributeType.JSON, Origin.UNDECLARED)
    if declared.type in _MANY_VALUES:
        raise InvalidArgumentError(
            f"{name} is a {declared.type}; a label is a single value", field="label"
        )
    return Field(name, (), declared.type, Origin.DECLARED)
