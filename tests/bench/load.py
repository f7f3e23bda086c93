"""A closed-loop load: `concurrency` callers, each sending its next call when the last one ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
    """Run the load for `seconds` after a warm-up and return its rate and latencies.

    Both end when the last call does, and the rate is over all of that time: calls that take as
    long as the load would else be lost at its edges.
    """
    numbers = iter(range(1 << 62))
    if warm_up > 0:
        await _loop(call, numbers, concurrency, warm_up)
    begun = time.perf_counter()
    latencies = await _loop(call, numbers, concurrency, seconds)
    spent = time.perf_counter() - begun
    latencies.sort()
    return Result(
        per_second=len(latencies) / spent,
        p50_ms=percentile(latencies, 0.50),
        p95_ms=percentile(latencies, 0.95),
        p99_ms=percentile(latencies, 0.99),
    )


async def _loop(
    call: Call, numbers: Iterator[int], concurrency: int, seconds: float
) -> list[float]:
    """Return how many seconds each call took."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (started := time.perf_counter()) < end:
            await call(next(numbers))
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return latencies


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of ascending seconds in milliseconds; NaN of none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
