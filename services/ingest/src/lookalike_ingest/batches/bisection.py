"""Calls for many items, of which some may spoil the call for all.

A request that is refused as a whole, or that its server does not survive, is cut in halves until
the guilty item stands alone and fails alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from lookalike_common.errors import (
    InternalError,
    InvalidArgumentError,
    LookalikeError,
    OutOfRangeError,
)
from lookalike_ingest.batches.patience import LOST, TRANSIENT, Patience
from lookalike_ingest.steps.step import JobFailedError

S = TypeVar("S")
R = TypeVar("R")
Call: TypeAlias = Callable[[Sequence[S]], Awaitable[Sequence[R | LookalikeError]]]

_GUILTY = (InvalidArgumentError, OutOfRangeError, InternalError)
_LOSSES_OF_SEVERAL = 2
_LOSSES_OF_ONE = 5
"""So often a living server must be lost over the same items before they are to blame: one item is
given up by it, several are only cut in halves."""


class Bisection:
    """Makes such calls to one server."""

    def __init__(
        self,
        what: str,
        patience: Patience,
        *,
        check_alive: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._what = what
        self._patience = patience
        self._check_alive = check_alive

    async def call(self, items: Sequence[S], call: Call[S, R]) -> Sequence[R | LookalikeError]:
        """Return a result or an error for each item, in order.

        Raises JobFailedError for what no item is to blame for and waiting does not cure.
        """
        losses = 0
        while True:
            try:
                results = await call(items)
            except LOST as error:
                losses += await self._was_alive(error)
                if losses >= (_LOSSES_OF_SEVERAL if len(items) > 1 else _LOSSES_OF_ONE):
                    return await self._blame(items, call, error)
            except TRANSIENT as error:
                await self._patience.pause(self._what, error)
            except _GUILTY as error:
                return await self._blame(items, call, error)
            except LookalikeError as error:
                raise JobFailedError(error) from error
            else:
                await self._patience.resume()
                return results

    async def _was_alive(self, error: LookalikeError) -> int:
        """Wait until the server answers; 1 if it could have been lost over the items.

        That it answers is no success yet: the next pause is longer than the last one.
        """
        await self._patience.pause(self._what, error)
        while self._check_alive is not None:
            try:
                await self._check_alive()
            except TRANSIENT as still:
                await self._patience.pause(self._what, still)
            else:
                return 1
        return 0

    async def _blame(
        self, items: Sequence[S], call: Call[S, R], error: LookalikeError
    ) -> Sequence[R | LookalikeError]:
        if len(items) == 1:
            return [error]
        middle = len(items) // 2
        first = await self.call(items[:middle], call)
        second = await self.call(items[middle:], call)
        return [*first, *second]
