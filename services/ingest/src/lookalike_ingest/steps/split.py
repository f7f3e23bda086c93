"""Step 4: the parts of an item that become entities. Today the whole item is its only part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lookalike_common.ids import WHOLE
from lookalike_ingest.encoding import Content
from lookalike_ingest.steps.decode import DecodeOutput
from lookalike_ingest.steps.step import StepError


@dataclass(frozen=True, slots=True)
class SplitInput:
    """Checked content."""

    decoded: DecodeOutput


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes one entity."""

    index: int
    content: Content
    text: str = ""


@dataclass(frozen=True, slots=True)
class SplitOutput:
    """The parts of one item; there is always one with the index 0."""

    parts: Sequence[Part]


class SplitError(StepError):
    """The content cannot be split."""

    step = "split"


class Splitter(Protocol):
    """One way to split."""

    name: str
    """A part of entity ids: it never changes."""

    @property
    def identity(self) -> str:
        """Name, version and options: another identity makes other entities of the same bytes."""

    def run(self, item: SplitInput) -> SplitOutput:
        """Return the parts of an item. Raises SplitError."""


class WholeSplitter:
    """Leaves items whole."""

    name = WHOLE

    @property
    def identity(self) -> str:
        """The first version, without options."""
        return f"{WHOLE}@1"

    def run(self, item: SplitInput) -> SplitOutput:
        """Return the item as its only part."""
        return SplitOutput([Part(0, item.decoded.content, item.decoded.text)])
