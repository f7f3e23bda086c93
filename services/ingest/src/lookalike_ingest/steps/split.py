"""Step 4: the parts of an item that become entities; how each kind is split is in `splitters`.

A splitter reads its item's bytes and yields parts one after the other, so that an hour of video is
never held at once. The part with the index 0 is the item's commit record.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from lookalike_ingest.encoding import Content, EncoderFacts, PackedVector
from lookalike_ingest.entities import Collection
from lookalike_ingest.job import Attributes, SplitterOptions
from lookalike_ingest.media_types import MediaType, Modality
from lookalike_ingest.object_finding import ObjectFinder
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Segment
from lookalike_ingest.steps.step import StepError


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes one entity."""

    index: int
    """Its place among the parts of its item, from 0."""
    content: Content | None
    """What is encoded; None where all vectors are given."""
    text: str = ""
    """What keyword search reads."""
    segment: Segment | None = None
    """Which part of the item; None: the whole."""
    attributes: Attributes = field(default_factory=dict)
    """What was found in the bytes; kept where the collection declares it."""
    record: Attributes = field(default_factory=dict)
    """What the item's own record says, as a row of a table would; kept as it is."""
    vectors: Mapping[str, PackedVector] = field(default_factory=dict)
    """Given vectors, by vector field."""

    @property
    def size(self) -> int:
        """Bytes that it holds in memory."""
        return len(self.content.data) if self.content else 0


class SplitError(StepError):
    """The content cannot be split."""

    step = "split"


class Splitter(Protocol):
    """One way to split one kind of item."""

    name: str
    """A part of entity ids: it never changes."""
    heavy: bool
    """Whether it does more than look at bytes in memory: decode, or ask other services."""

    @property
    def identity(self) -> str:
        """Name, version and options: another identity makes other entities of the same bytes."""

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the parts of an item, at least one; blocks.

        Raises errors of `lookalike_common.errors` for content that cannot be read, SplitError for
        what goes wrong at a place in it.
        """


@dataclass(frozen=True, slots=True)
class SplitContext:
    """What a job's splitters can depend on."""

    collection: Collection
    encoders: Mapping[str, EncoderFacts]
    """Of the collection's vector fields, by encoder name."""
    options: SplitterOptions
    keep_location: bool
    finder: ObjectFinder

    @property
    def taken(self) -> frozenset[Modality]:
        """What the collection's encoders take."""
        return frozenset(each for facts in self.encoders.values() for each in facts.modalities)


@dataclass(frozen=True, slots=True)
class Kind:
    """What an item turned out to be."""

    modality: Modality
    media_type: MediaType
    name: str
    size: int


MakeSplitter: TypeAlias = Callable[[SplitContext, Kind], Splitter]
"""Makes the splitter of an item of one modality."""
