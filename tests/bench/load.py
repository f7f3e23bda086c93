"""A closed-loop load: `concurrency` callers, each sending its next call when the last one ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Call = Callable[[int], Awaitable[object]]
"""One call; gets its number, counted over all callers."""


@dataclass(frozen=True)
class Result:
    """What a load measured, without its warm-up."""

    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures, rounded for a report."""
        return {
            "per_second": round(self.per_second, 1),
            "p50_ms": round(self.p50_ms, 2),
            "p95_ms": round(self.p95_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
        }


async def closed_loop(
    call: Call, *, concurrency: int, seconds: float, warm_up: float = 1.0
) -> Result:
    """Run the load for `seconds` after a warm-up and return its rate and latencies."""
    latencies: list[float] = []
    begin = time.perf_counter() + warm_up
    end = begin + seconds
    numbers = iter(range(1 << 62))

    async def caller() -> None:
        while (started := time.perf_counter()) < end:
            await call(next(numbers))
            finished = time.perf_counter()
            if started >= begin and finished <= end:
                latencies.append(finished - started)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    latencies.sort()
    return Result(
        per_second=len(latencies) / seconds,
        p50_ms=_percentile(latencies, 0.50),
        p95_ms=_percentile(latencies, 0.95),
        p99_ms=_percentile(latencies, 0.99),
    )


def _percentile(ordered: list[float], share: float) -> float:
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
