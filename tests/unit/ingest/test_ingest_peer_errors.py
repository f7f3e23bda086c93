"""Errors of single things: told without their place in a request that no caller ever saw."""

from __future__ import annotations

import pytest

from lookalike_common.errors import InvalidArgumentError
from lookalike_common.status import to_status
from lookalike_ingest.adapters.grpc_calls import error_of_one


@pytest.mark.parametrize(
    ("field", "left"),
    [
        ("items[3].content", ""),
        ("items[12]", ""),
        ("items[0].regions[1].x", "regions[1].x"),
        ("entities[7].attributes.year", "attributes.year"),
        ("entities[7].vectors.picture", "vectors.picture"),
        ("items[1].contents", "contents"),
        ("collection", "collection"),
    ],
)
def test_only_what_is_about_the_thing_itself_is_left(field: str, left: str) -> None:
    error = error_of_one(to_status(InvalidArgumentError("wrong", field=field), "request"))
    assert (type(error), error.message, error.field) == (InvalidArgumentError, "wrong", left)
    assert {each.field for each in error.violations} <= {left}
