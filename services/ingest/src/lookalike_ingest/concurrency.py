"""Running some coroutines side by side, where the first failure ends them all."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


# Any: what a coroutine yields and receives is between it and the event loop.
async def gather_all(calls: Iterable[Coroutine[Any, Any, T]]) -> Sequence[T]:
    """Return all results in order, or raise the first error once nothing runs any more."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
