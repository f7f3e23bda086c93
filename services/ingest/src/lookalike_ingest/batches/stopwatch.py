"""Where the time of a batch went, by step."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by step; one for each thread, added up afterwards."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Add the time of a block to a step."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] += time.monotonic() - start

    def add(self, other: "Stopwatch") -> None:
        """Add what another one measured."""
        for step, seconds in other.seconds.items():
            self.seconds[step] += seconds
