"""How a step says that one item ends here, while the others go on."""

from typing import ClassVar

from lookalike_common.errors import LookalikeError
from lookalike_ingest.job import ItemProblem
from lookalike_ingest.problem import Problem
from lookalike_ingest.segments import Segment


class StepError(Exception):
    """An item failed in a step; every step has a subclass of its own."""

    step: ClassVar[str]

    def __init__(
        self,
        cause: BaseException,
        *,
        asset: str = "",
        line: int = 0,
        segment: Segment | None = None,
    ) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.asset = asset
        self.line = line
        self.segment = segment

    def to_problem(self) -> ItemProblem:
        """Return what is kept about it."""
        return ItemProblem(self.step, Problem.of(self.cause), self.asset, self.line, self.segment)


class ItemSkippedError(Exception):
    """The item is of no kind that the collection takes: left out, no failure."""


class JobFailedError(Exception):
    """Nothing more of this job can work, such as after its collection was deleted."""

    def __init__(self, cause: LookalikeError) -> None:
        super().__init__(cause.message)
        self.cause = cause
