"""Checks a search request against its collection and plans how far to look. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidPageTokenError,
    LimitExceededError,
)
from lookalike_common.paging import Position, decode_page_token, encode_page_token
from lookalike_search.attributes import check_attribute_name
from lookalike_search.commands.entities import checked_filter
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.filters import CheckedExpression
from lookalike_search.grouping import ITEM, GroupBy
from lookalike_search.model import AttributeType, CollectionSpec, Projection, StoredCollection
from lookalike_search.output import OutputMask, parse_output_fields
from lookalike_search.queries import (
    MAX_QUERIES,
    MAX_WINDOW,
    Keywords,
    Query,
    Rerank,
    SearchOrder,
    parse_freshness,
)
from lookalike_search.store import Freshness

_EFFORTS: Final = (64, 512, 4096, MAX_WINDOW)
"""What `ef` is unless the caller says so: the first that is more than offset + top_k."""
_PARAMS: Final = frozenset({"ef", "nprobe", "reorder_k", "search_list"})
_MAX_PARAM: Final = 65_536
_GROUP_OVERFETCH: Final = 5
_EXCLUDED_AT_FIRST: Final = 512
"""Of many entities that are left out, few may be near."""
_UNGROUPABLE: Final = frozenset({AttributeType.STRING_LIST, AttributeType.JSON})
_LISTING: Final = "search"


@dataclass(frozen=True, slots=True)
class Reranking:
    """What hits are compared with in the second look."""

    rerank: Rerank
    query: str
    at: str
    """Where in the request the query's text is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A search whose request has been checked."""

    order: SearchOrder
    collection: StoredCollection
    where: CheckedExpression | None
    mask: OutputMask
    freshness: Freshness
    offset: int
    effort: int
    params: Mapping[str, float]
    reranking: Reranking | None = None

    @property
    def top_k(self) -> int:
        """Hits, or groups, on this page; the last one may be shorter."""
        return min(self.order.top_k, MAX_WINDOW - self.offset)

    @property
    def end(self) -> int:
        """Hits, or groups, up to the end of this page."""
        return self.offset + self.top_k

    @property
    def needed(self) -> int:
        """Hits, or groups, that decide about this page and whether there is another."""
        return min(self.end + 1, MAX_WINDOW)

    @property
    def in_one_go(self) -> bool:
        """Whether the search itself reads all that the page shows."""
        order = self.order
        return (
            len(order.queries) == 1
            and order.group_by is None
            and self.reranking is None
            and not self.offset
        )

    @property
    def retrieval(self) -> Plan:
        """The plan for what is reranked: the best hits, with what the reranker and groups read.

        It is the same for all pages, so pages of a reranked list fit together.
        """
        rerank, group_by = self.order.rerank, self.order.group_by
        if rerank is None:
            return self
        order = replace(self.order, top_k=rerank.candidates, offset=0, group_by=None)
        read = {rerank.attribute, group_by.field if group_by is not None else ""} - {"", ITEM}
        effort = _effort(order)
        return replace(
            self,
            order=order,
            mask=OutputMask(
                plain=frozenset({"item", "text"} if not rerank.attribute else {"item"}),
                attributes=frozenset(read),
                vectors=frozenset(),
            ),
            offset=0,
            effort=effort,
            params={"ef": effort, **order.params},
            reranking=None,
        )

    @property
    def projection(self) -> Projection:
        """What the search reads of each hit."""
        if self.in_one_go:
            return self.mask.projection
        group_by = self.order.group_by
        return Projection(
            text=False,
            attributes=group_by is not None and group_by.field != ITEM,
            system=False,
        )

    def first_window(self, *, excluded: int) -> int:
        """Return how many neighbours to ask for at first, `excluded` of which may not count."""
        group_by = self.order.group_by
        window = self.needed + min(excluded, _EXCLUDED_AT_FIRST)
        if group_by is not None:
            window *= _GROUP_OVERFETCH * group_by.size
        # What fusion makes of a window depends on its size, so all pages use the same one.
        return window if len(self.order.queries) == 1 else max(window, self.effort)

    def searching_for(self, queries: Iterable[Query]) -> Plan:
        """Return the plan for other queries, and otherwise the same request."""
        return replace(self, order=replace(self.order, queries=tuple(queries)))

    def next_token(self, listed: int) -> str:
        """Return the next page's token if more than this page's share is listed."""
        if listed <= self.end or self.end >= MAX_WINDOW:
            return ""
        return encode_page_token([self.end, self.effort], _LISTING, self.order.digest)


def make_plan(order: SearchOrder, collection: StoredCollection) -> Plan:
    """Return the plan for a request, or raise what is wrong with it."""
    if not 1 <= len(order.queries) <= MAX_QUERIES:
        raise LimitExceededError(f"from 1 to {MAX_QUERIES} are allowed", field="queries")
    if not 1 <= order.top_k <= MAX_WINDOW:
        raise InvalidArgumentError(f"must be from 1 to {MAX_WINDOW}", field="top_k")
    if order.offset < 0 or order.offset + order.top_k > MAX_WINDOW:
        raise InvalidArgumentError(f"offset + top_k may not exceed {MAX_WINDOW}", field="offset")
    _check_params(order.params)
    if order.group_by is not None:
        _check_group_by(order.group_by, collection.spec)
    position = decode_page_token(order.page_token, _LISTING, order.digest)
    if position is None:
        offset, effort = order.offset, _effort(order)
    else:
        offset, effort = _read_position(position)
    return Plan(
        order=order,
        collection=collection,
        where=checked_filter(order.filter_text, collection.spec),
        mask=parse_output_fields(
            order.output_fields, collection.spec, include_vectors=order.include_vectors
        ),
        freshness=parse_freshness(order.consistency, order.consistency_token),
        offset=offset,
        effort=effort,
        params={"ef": effort, **order.params},
        reranking=_reranking(order, collection.spec),
    )


def _reranking(order: SearchOrder, spec: CollectionSpec) -> Reranking | None:
    rerank = order.rerank
    if rerank is None:
        return None
    if rerank.attribute:
        check_attribute_name(rerank.attribute, "rerank.attribute")
        declared = spec.attribute(rerank.attribute)
        if declared is not None and declared.type is not AttributeType.STRING:
            raise InvalidArgumentError(
                f"{rerank.attribute} is a {declared.type}; only strings can be read",
                field="rerank.attribute",
            )
    for index, query in enumerate(order.queries):
        match query.source:
            case Keywords(words):
                return Reranking(rerank, words, f"queries[{index}].keyword")
            case Content(kind=ContentKind.TEXT, data=data):
                return Reranking(rerank, data.decode(), f"queries[{index}].content")
    raise InvalidArgumentError("no query has a text to compare hits with", field="rerank")


def _effort(order: SearchOrder) -> int:
    return next((each for each in _EFFORTS if each > order.offset + order.top_k), _EFFORTS[-1])


def _read_position(position: Position) -> tuple[int, int]:
    match position:
        case [int(offset), int(effort)] if 0 <= offset < MAX_WINDOW and 0 < effort <= MAX_WINDOW:
            return offset, effort
        case _:
            raise InvalidPageTokenError("is damaged; start over without it", field="page_token")


def _check_params(params: Mapping[str, float]) -> None:
    for name, value in params.items():
        at = f"params.{name[:80]}"
        if name not in _PARAMS:
            raise InvalidArgumentError(f"is none of {', '.join(sorted(_PARAMS))}", field=at)
        if not (1 <= value <= _MAX_PARAM and float(value).is_integer()):
            raise InvalidArgumentError(f"must be whole and from 1 to {_MAX_PARAM}", field=at)


def _check_group_by(group_by: GroupBy, spec: CollectionSpec) -> None:
    if group_by.field == ITEM:
        return
    check_attribute_name(group_by.field, "group_by.field")
    declared = spec.attribute(group_by.field)
    if declared is not None and declared.type in _UNGROUPABLE:
        raise InvalidArgumentError(
            f"{group_by.field} is a {declared.type}; groups need a single value",
            field="group_by.field",
        )
