"""How many entities Milvus Lite is trusted with."""

from __future__ import annotations

import pytest

from lookalike_common.errors import UnsupportedByBackendError
from lookalike_ingest.capacity import Capacity
from lookalike_ingest.entities import Collection

CAPACITY = Capacity(lite_warn_entities=50, lite_max_entities=100)


@pytest.mark.parametrize(
    ("backend", "stored", "items", "warned"),
    [
        ("milvus-lite", 20, 30, False),
        ("milvus-lite", 20, 31, True),
        ("milvus-lite-3.2", 0, 51, True),
        ("milvus-lite", 100, 100, True),
        ("milvus-2.6", 1000, 1000, False),
    ],
)
def test_what_may_be_much_is_warned_of(
    backend: str, stored: int, items: int, *, warned: bool
) -> None:
    collection = Collection("c", (), count=stored, backend=backend)
    assert bool(CAPACITY.check(collection, items)) == warned


@pytest.mark.parametrize(("stored", "items"), [(101, 0), (0, 101)])
def test_what_is_certain_to_be_too_much_is_refused(stored: int, items: int) -> None:
    """Whatever of the items is stored already."""
    with pytest.raises(UnsupportedByBackendError, match="101 entities or more"):
        CAPACITY.check(Collection("c", (), count=stored, backend="milvus-lite"), items)
