"""`BatchSearch`'s messages."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.search.v1 import search_service_pb2 as pb
from lookalike_common.errors import InvalidArgumentError, LookalikeError
from lookalike_common.status import to_status
from lookalike_common.validation import RequestValidator
from lookalike_search.convert.searches import from_search, to_search_response
from lookalike_search.queries import SearchOrder, SearchResult


def from_batch(
    request: pb.BatchSearchRequest, validator: RequestValidator
) -> list[SearchOrder | LookalikeError]:
    """Return the searches; a bad one is an error, for itself, at `requests[i]`.

    A search may leave out the collection. Its rules are checked here and not at the door, where
    one that is broken would refuse them all.
    """
    orders: list[SearchOrder | LookalikeError] = []
    for index, each in enumerate(request.requests):
        try:
            if each.collection not in {"", request.collection}:
                raise InvalidArgumentError(f"is not {request.collection}", field="collection")
            each.collection = request.collection
            validator.check(each)
            orders.append(from_search(each))
        except LookalikeError as error:
            orders.append(error.at(f"requests[{index}]"))
    return orders


def to_batch_response(
    results: Sequence[SearchResult | LookalikeError], request: pb.BatchSearchRequest
) -> pb.BatchSearchResponse:
    """Return the answers, in the form that each was asked for."""
    return pb.BatchSearchResponse(
        results=[
            pb.SearchResult(error=to_status(result))
            if isinstance(result, LookalikeError)
            else pb.SearchResult(response=to_search_response(result, each))
            for result, each in zip(results, request.requests, strict=True)
        ]
    )
