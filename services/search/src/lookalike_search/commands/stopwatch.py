"""How long the stages of a call took, for callers who want it explained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(slots=True)
class Stopwatch:
    """Stages in the order in which they began; a stage that comes again adds up."""

    _stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.perf_counter() - started

    def timings(self) -> tuple[tuple[str, timedelta], ...]:
        """Return each stage with its time."""
        return tuple((name, timedelta(seconds=spent)) for name, spent in self._stages.items())
