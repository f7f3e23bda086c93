"""The planner is a pure function: what waits, and a budget, give runs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_encoder.batching.planner import PATIENCE, Epoch, plan_epoch, plan_runs
from lookalike_encoder.content import Priority
from lookalike_encoder.manifest import Budget

BUDGET = Budget(max_rows=4, max_work=40, epoch_work=100)
budgets = st.builds(
    Budget,
    max_rows=st.integers(1, 20),
    max_work=st.integers(1, 300),
    epoch_work=st.integers(1, 500),
)
lengths = st.lists(st.integers(1, 256), max_size=80)


def test_rows_of_similar_length_run_together() -> None:
    assert plan_runs([30, 2, 9, 3, 31, 8], BUDGET) == [[1, 3, 5, 2], [0], [4]]


def test_a_run_keeps_to_its_rows() -> None:
    assert [len(run) for run in plan_runs([1] * 10, BUDGET)] == [4, 4, 2]


def test_a_run_keeps_to_its_work_with_padding() -> None:
    assert plan_runs([10, 11, 20, 20, 21], BUDGET) == [[0, 1], [2, 3], [4]]


def test_a_row_over_the_budget_runs_alone() -> None:
    assert plan_runs([500, 1, 400], BUDGET) == [[1], [2], [0]]


def test_nothing_makes_no_runs() -> None:
    assert plan_runs([], BUDGET) == []


@given(lengths, budgets)
def test_every_row_is_in_exactly_one_run_within_budget(lengths: list[int], budget: Budget) -> None:
    runs = plan_runs(lengths, budget)

    assert sorted(index for run in runs for index in run) == list(range(len(lengths)))
    for run in runs:
        longest = max(lengths[index] for index in run)
        assert len(run) <= budget.max_rows
        assert len(run) * longest <= budget.max_work or len(run) == 1


@given(lengths, budgets)
def test_runs_never_mix_long_with_short_across_others(lengths: list[int], budget: Budget) -> None:
    runs = plan_runs(lengths, budget)
    spans = [[lengths[index] for index in run] for run in runs]
    assert all(max(a) <= min(b) for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("interactive", "bulk", "waited", "expected"),
    [
        ([], [], 0, None),
        ([5], [], 0, Epoch(Priority.INTERACTIVE, 1)),
        ([], [5, 5], 0, Epoch(Priority.BULK, 2)),
        ([5], [5], 0, Epoch(Priority.INTERACTIVE, 1)),
        ([5], [5], PATIENCE - 1, Epoch(Priority.INTERACTIVE, 1)),
        ([5], [5], PATIENCE, Epoch(Priority.BULK, 1)),
        ([5], [], PATIENCE, Epoch(Priority.INTERACTIVE, 1)),
        ([60, 40, 1], [], 0, Epoch(Priority.INTERACTIVE, 2)),
        ([60, 41], [], 0, Epoch(Priority.INTERACTIVE, 1)),
        ([1000, 1], [], 0, Epoch(Priority.INTERACTIVE, 1)),
    ],
)
def test_epochs(
    interactive: list[int], bulk: list[int], waited: int, expected: Epoch | None
) -> None:
    assert plan_epoch(interactive, bulk, BUDGET, bulk_waited=waited) == expected


@given(lengths, lengths, budgets, st.integers(0, 20))
def test_an_epoch_makes_progress_within_its_work(
    interactive: list[int], bulk: list[int], budget: Budget, waited: int
) -> None:
    epoch = plan_epoch(interactive, bulk, budget, bulk_waited=waited)
    if epoch is None:
        assert not interactive
        assert not bulk
        return
    line = bulk if epoch.priority is Priority.BULK else interactive
    assert 1 <= epoch.count <= len(line)
    assert epoch.count == 1 or sum(line[: epoch.count]) <= budget.epoch_work
