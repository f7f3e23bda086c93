"""Which items make the next batch: a pure choice over the items that have no outcome yet.

Items that were begun twice without coming to an end are suspected of killing the process; they
run alone, so that only the guilty one is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_ingest.job import Item


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be."""

    items: int = 32
    bytes: int = 32 << 20
    """By the sizes that the source told; one larger item still makes a batch of its own."""
    isolate_after: int = 2
    """Attempts after which an item runs alone."""


def choose_batch(pending: Sequence[Item], limits: BatchLimits) -> Sequence[Item]:
    """Take items from the front of `pending` (attempts not yet counting the coming one)."""
    batch: list[Item] = []
    total = 0
    for item in pending[: limits.items]:
        suspect = item.attempts >= limits.isolate_after
        if batch and (suspect or total + item.size > limits.bytes):
            break
        batch.append(item)
        total += item.size
        if suspect:
            break
    return batch


def cut(sizes: Sequence[int], max_items: int, max_bytes: int) -> Sequence[slice]:
    """Cut a sequence of things of known sizes into runs within both limits, one thing at least."""
    runs: list[slice] = []
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= max_items or total + size > max_bytes):
            runs.append(slice(start, index))
            start, total = index, 0
        total += size
    if start < len(sizes):
        runs.append(slice(start, len(sizes)))
    return runs
