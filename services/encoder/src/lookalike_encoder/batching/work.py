"""One request on its way through the batcher, and its items.

A `Submission` belongs to the event loop, except while its entries are being run: then the worker
thread fills them in, and nobody else touches them. The one field read across is `abandoned`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import InternalError, LookalikeError
from lookalike_encoder.content import Answer, Encoded, Item, Outcome, Priority, Timings
from lookalike_encoder.encoder import Prepared


@dataclass(slots=True, eq=False)
class Submission:
    """The items of one request."""

    items: Sequence[Item]
    priority: Priority
    done: asyncio.Future[Answer | LookalikeError]
    arrived: float
    """When it arrived, in seconds on the batcher's clock, as all times here."""
    deadline: float | None = None
    """When its caller gives up; None for never."""
    admitted: float = field(init=False)
    """When it was let into the line, which only streams wait for."""
    taken: float | None = None
    """When its first item left the line."""
    preprocess: float = 0.0
    """Seconds in which items of it were prepared."""
    inference: float = 0.0
    """Seconds in which the model ran rows of it."""
    batch_rows: int = 0
    abandoned: bool = False
    """The caller left or was refused; whatever is still to do is dropped."""
    outcomes: list[Outcome | None] = field(init=False)
    size: int = field(init=False)
    """Bytes of its items."""

    def __post_init__(self) -> None:
        self.admitted = self.arrived
        self.outcomes = [None] * len(self.items)
        self.size = sum(item.content.size for item in self.items)

    def is_late(self, now: float) -> bool:
        """Whether the caller has given up."""
        return self.deadline is not None and now >= self.deadline

    def reject(self, error: LookalikeError) -> None:
        """Answer the request as a whole, and drop what is still to do. On the event loop."""
        self.abandoned = True
        if not self.done.done():
            self.done.set_result(error)

    def deliver(self) -> bool:
        """Wake the caller if every item has its outcome; says so. On the event loop."""
        outcomes = tuple(each for each in self.outcomes if each is not None)
        if len(outcomes) < len(self.outcomes) or self.done.done():
            return False
        queued = (self.taken or self.arrived) - self.arrived
        timings = Timings(
            queue=timedelta(seconds=queued),
            preprocess=timedelta(seconds=self.preprocess),
            inference=timedelta(seconds=self.inference),
        )
        self.done.set_result(Answer(outcomes, timings, self.batch_rows))
        return True


@dataclass(slots=True, eq=False)
class Entry:
    """One item of a submission: what stands in line."""

    submission: Submission
    index: int
    work: int
    """Estimated length."""
    prepared: Prepared | None = None
    vectors: dict[int, NDArray[Any]] = field(default_factory=dict)
    """Finished rows by their number."""

    @property
    def item(self) -> Item:
        """What is to be encoded."""
        return self.submission.items[self.index]

    @property
    def remaining_work(self) -> int:
        """Estimated length of what is left to do for it."""
        return 0 if self.is_finished else self.work

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.submission.abandoned or self.submission.outcomes[self.index] is not None

    def fail(self, error: LookalikeError) -> None:
        """Set why the item failed; the first reason stays."""
        if self.submission.outcomes[self.index] is None:
            self.submission.outcomes[self.index] = error

    def finish_row(self, row: int, vector: NDArray[Any]) -> None:
        """Keep the vector of one row; the last one finishes the item."""
        assert self.prepared is not None  # noqa: S101 - only prepared rows are ever run
        self.vectors[row] = vector
        if len(self.vectors) == len(self.prepared.rows):
            outcome = self._assemble(self.prepared)
            if self.submission.outcomes[self.index] is None:
                self.submission.outcomes[self.index] = outcome
            self.prepared = None

    def _assemble(self, prepared: Prepared) -> Outcome:
        """Put the rows of the item together, in their order."""
        ordered = [self.vectors[each] for each in range(len(self.vectors))]
        if len({each.shape for each in ordered}) > 1:
            return InternalError("the model returned parts of different shapes for one item")
        return Encoded(
            ordered[0][np.newaxis] if len(ordered) == 1 else np.stack(ordered),
            prepared.truncated,
            prepared.canonical,
            prepared.width,
            prepared.height,
        )
