"""Pictures decoded side by side stay under a ceiling."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike_media import PixelBudget


def test_what_does_not_fit_waits() -> None:
    budget = PixelBudget(100)
    held, most = 0, 0
    lock = threading.Lock()

    def hold(pixels: int) -> None:
        nonlocal held, most
        with budget.reserve(pixels):
            with lock:
                held += pixels
                most = max(most, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, [60, 30, 50, 10, 90, 100, 1, 40] * 50))

    assert held == 0
    assert 0 < most <= 100


def test_one_larger_than_all_there_is_waits_for_all() -> None:
    budget = PixelBudget(100)
    entered = threading.Event()

    def hold() -> None:
        with budget.reserve(1000):
            entered.set()

    with ThreadPoolExecutor(1) as threads:
        with budget.reserve(1):
            waiting = threads.submit(hold)
            assert not entered.is_set()
        waiting.result(10)
    assert entered.is_set()


def test_room_is_given_back_after_an_error() -> None:
    budget = PixelBudget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), budget.reserve(10):
            raise ValueError("broken")
