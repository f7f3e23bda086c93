"""An event loop whose clock jumps: what takes an hour takes no time, and in the same order always.

Work for threads is done by the loop itself, at the times that a `Thread` says. Where everybody
waits for something that never comes, the test fails at once instead of hanging.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Jumping(selectors.DefaultSelector):
    """Where a loop would sleep, its clock is advanced."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on virtual time, which begins at 0."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class Thread(Executor):
    """Does one thing after the other, each in the middle of the time that it takes."""

    def __init__(self, loop: VirtualLoop, seconds: Callable[[], float]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._free_at = 0.0

    def submit(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        outcome: list[_T] = []
        begin, seconds = max(self._free_at, self._loop.time()), self._seconds()
        self._free_at = begin + seconds
        self._loop.call_at(begin + seconds / 2, lambda: outcome.append(work(*args, **kwargs)))
        self._loop.call_at(self._free_at, lambda: future.set_result(outcome[0]))
        return future


def run_virtually(main: Callable[[VirtualLoop], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine on a virtual loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))
