"""Decides what runs next and together: pure functions of what waits and of a budget.

Work is counted in lengths (tokens, pictures), never in requests. What waits is taken in epochs: a
snapshot, sorted by length, cut into runs in which little is padding. While the model runs, the next
epoch gathers by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lookalike_encoder.content import Priority
from lookalike_encoder.manifest import Budget

PATIENCE = 8
"""Interactive epochs in a row after which bulk work that waits gets a turn."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What to take next: the first `count` of one line."""

    priority: Priority
    count: int


def plan_epoch(
    interactive: Iterable[int],
    bulk: Iterable[int],
    budget: Budget,
    *,
    bulk_waited: int = 0,
) -> Epoch | None:
    """Choose from two lines, each given by its estimated lengths in order of arrival.

    Interactive goes first; bulk goes when nothing interactive waits, or when it has waited for
    `PATIENCE` epochs. An epoch has one item at least, however long, and never mixes the lines, so
    that a person never waits for the end of bulk work. None if nothing waits.
    """
    bulk_count = _fitting(bulk, budget.epoch_work)
    if bulk_count and bulk_waited >= PATIENCE:
        return Epoch(Priority.BULK, bulk_count)
    interactive_count = _fitting(interactive, budget.epoch_work)
    if interactive_count:
        return Epoch(Priority.INTERACTIVE, interactive_count)
    return Epoch(Priority.BULK, bulk_count) if bulk_count else None


def fills_a_run(lengths: Sequence[int], budget: Budget) -> bool:
    """Whether rows of these estimated lengths are as many as a run is good for."""
    return len(lengths) >= budget.max_rows or sum(lengths) >= budget.max_work


def plan_runs(lengths: Sequence[int], budget: Budget) -> list[list[int]]:
    """Cut rows, given by their exact lengths, into runs; returns their indices.

    Each row is in exactly one run. A run keeps both limits, but for a row that alone exceeds
    `max_work`, which runs alone.
    """
    runs: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        run = runs[-1] if runs else []
        # Sorted, so the row to be added is the longest of its run.
        fits = len(run) < budget.max_rows and (len(run) + 1) * lengths[index] <= budget.max_work
        if run and fits:
            run.append(index)
        else:
            runs.append([index])
    return runs


def _fitting(lengths: Iterable[int], work: int) -> int:
    """Count how many of the first lengths fit, one at least if there is one."""
    total = count = 0
    for length in lengths:
        total += length
        if count and total > work:
            break
        count += 1
    return count
