"""How long writers are asked to wait."""

from __future__ import annotations

from datetime import timedelta

from lookalike_search.pacing import Pace


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def test_pauses_double_up_to_a_limit_and_begin_anew() -> None:
    pace = Pace(slow_after=seconds(2), longest=seconds(5))
    assert [pace.after_failure(None) for _ in range(6)] == list(map(seconds, (0.5, 1, 2, 4, 5, 5)))
    assert pace.after_success(seconds(1)) == seconds(0)
    assert pace.after_failure(None) == seconds(0.5)


def test_advice_is_the_least_and_the_limit_the_most() -> None:
    pace = Pace(slow_after=seconds(2), longest=seconds(5))
    assert pace.after_failure(seconds(3)) == seconds(3)
    assert pace.after_failure(seconds(60)) == seconds(5)


def test_a_slow_store_gets_the_time_that_it_took_too_long() -> None:
    pace = Pace(slow_after=seconds(2), longest=seconds(5))
    assert [pace.after_success(seconds(took)) for took in (2, 3, 100)] == list(
        map(seconds, (0, 1, 5))
    )
