"""What a job is: what was asked for, how it stands, and what became of its items.

The model knows no database and no protocol. Its one invariant: once a job is final and its items
were all found, created, updated, unchanged, skipped and failed ones add up to the total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from lookalike_ingest.places import Place
from lookalike_ingest.problem import Problem
from lookalike_ingest.segments import Segment

Json: TypeAlias = JsonValue
Attributes: TypeAlias = Mapping[str, Json]


class JobState(StrEnum):
    """Where a job stands. The last four are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    SUCCEEDED = "SUCCEEDED"
    SUCCEEDED_WITH_FAILURES = "SUCCEEDED_WITH_FAILURES"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether a job in this state never moves again."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.SUCCEEDED_WITH_FAILURES,
        JobState.FAILED,
        JobState.CANCELLED,
    }
)
UNFINISHED_STATES = frozenset(JobState) - FINAL_STATES


class Outcome(StrEnum):
    """What became of one item; an item has one, once."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items came to which outcome."""

    total: int | None = None
    """Items there are; None while they are still being found."""
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Items that have an outcome."""
        return self.created + self.updated + self.unchanged + self.skipped + self.failed


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Files, folders and archives by their URIs, narrowed by globs over relative paths."""

    uris: Sequence[str]
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    kind: Literal["files"] = "files"


@dataclass(frozen=True, slots=True)
class GivenItem:
    """One item of a request, without its bytes."""

    place: Annotated[Place, Field(discriminator="kind")]
    sha256: str
    """Of its bytes, in hex."""
    key: str = ""
    """The caller's key; empty for the hash."""
    source_uri: str = ""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemsSource:
    """Items given in the request."""

    items: Sequence[GivenItem]
    kind: Literal["items"] = "items"


@dataclass(frozen=True, slots=True)
class TableSource:
    """The rows of a table."""

    uri: str
    columns: Mapping[str, str]
    """Column names by what they give, see `columns.parse_columns`."""
    kind: Literal["table"] = "table"

    @property
    def brings_vectors(self) -> bool:
        """Whether a column gives vectors, so that no encoder may be needed."""
        return any(each.startswith("vectors.") for each in self.columns)


@dataclass(frozen=True, slots=True)
class CollectionSource:
    """The items of another collection."""

    collection: str
    """`collections/{collection}`, or an alias in its place."""
    filter: str = ""
    """Empty for all."""
    kind: Literal["collection"] = "collection"


Source: TypeAlias = FilesSource | ItemsSource | TableSource | CollectionSource
"""Any of them; a new kind of source is one class more here, with a `kind` of its own."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job goes about it."""

    stop_on_error: bool = False
    dry_run: bool = False
    discard_assets: bool = False
    sync: bool = False
    watch_interval: timedelta | None = None
    max_items_per_second: float = 0.0
    """0: as fast as it goes."""
    keep_location: bool = False


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How images are split. Nothing set: the whole image."""

    detector: str = ""
    """`encoders/{encoder}` that finds objects, each a part; empty for none."""
    tile_pixels: int = 0
    """Edge of square tiles, each a part; 0 for none."""
    parts_only: bool = False
    min_score: float = 0.0
    """Of objects; 0: what the detector likes."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How videos are split."""

    max_interval: timedelta | None = None
    """At least one frame in so much time; None: one a shot."""
    frames: ImageOptions = ImageOptions()
    skip_audio: bool = False


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """How sounds are split."""

    window: timedelta | None = None
    """None: the encoder's."""
    hop: timedelta | None = None
    """None: half a window."""
    keep_silence: bool = False


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How texts are split."""

    max_tokens: int = 0
    """0: what the encoder reads."""
    overlap_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """How nucleotide sequences are split."""

    window: int = 0
    """Bases; 0: the whole record."""
    step: int = 0
    """Bases; 0: half a window."""
    both_strands: bool = False


@dataclass(frozen=True, slots=True)
class MoleculeOptions:
    """How molecules are read."""

    strip_salts: bool = False
    canonical_items: bool = False


@dataclass(frozen=True, slots=True)
class SplitterOptions:
    """How items become entities, by kind."""

    image: ImageOptions = ImageOptions()
    video: VideoOptions = VideoOptions()
    audio: AudioOptions = AudioOptions()
    text: TextOptions = TextOptions()
    sequence: SequenceOptions = SequenceOptions()
    molecule: MoleculeOptions = MoleculeOptions()


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked for."""

    collection: str
    """`collections/{collection}`, or an alias in its place."""
    source: Annotated[Source, Field(discriminator="kind")]
    options: JobOptions = JobOptions()
    attributes: Attributes = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    splitter: SplitterOptions = SplitterOptions()


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it stands."""

    id: str
    tenant: str
    request_id: str
    spec: JobSpec
    generation: int
    """What its entities carry; strictly rising from job to job."""
    created_at: datetime
    state: JobState = JobState.PENDING
    state_reason: str = ""
    problem: Problem | None = None
    warnings: Sequence[str] = ()
    """What its owner should know, in words."""
    counts: Counts = Counts()
    written: int = 0
    """Entities written."""
    removed: int = 0
    """Entities of older generations removed."""
    revision: int = 1
    """Rises with every change; what WatchJob calls the offset."""
    media_types: Mapping[str, int] = field(default_factory=dict)
    """Items by IANA media type, as far as they were read."""
    stored_bytes: int = 0
    """What the originals and vectors of its items take, or of a dry run's would."""
    found: int = 0
    """Items found so far."""
    listed: bool = False
    """Whether its source was listed to the end, or for one that watches: in this round."""
    unlisted: int = 0
    """Things of its source that could not be listed, or were refused when they were."""
    round: int = 0
    """Rises whenever work is submitted anew; tasks of an older round have nothing to do."""
    retry_of: str = ""
    """The id of the job whose failed and unreached items these are."""
    expansion: int = 0
    """How often finding its items was begun."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def name(self) -> str:
        """`jobs/{job}`."""
        return f"jobs/{self.id}"

    @property
    def complete(self) -> bool:
        """Whether all items have an outcome."""
        return self.listed and self.counts.done == self.found

    @property
    def needs_finish(self) -> bool:
        """Whether something is to be seen to between the last item and the end."""
        return not self.spec.options.dry_run and (self.spec.options.sync or self.written > 0)

    def works_in(self, round_: int) -> bool:
        """Tell whether tasks of a round have something to do."""
        return not self.state.final and self.state is not JobState.PAUSED and self.round == round_


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """Where and why an item failed."""

    step: str
    """`fetch`, `unpack`, `decode`, `split`, `encode` or `write`."""
    problem: Problem
    asset: str = ""
    """`assets/{asset}`, if the item came that far."""
    line: int = 0
    """The line, row or record in its file, from 1; 0 where there are none."""
    segment: Segment | None = None
    """The place in the item, where only a part failed."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """One item as found in its source; some have their outcome at once."""

    key: str
    source_uri: str
    place: Place
    size: int
    """Bytes that its source says it has."""
    attributes: Attributes = field(default_factory=dict)
    outcome: Outcome | None = None
    problem: ItemProblem | None = None
    version: str = ""
    """What tells a changed item from the one before, where its place does not."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item whose turn has come."""

    ordinal: int
    """Its number in the job, from 0."""
    key: str
    source_uri: str
    place: Place
    size: int
    attributes: Attributes
    attempts: int
    """Tries so far, this one included."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item."""

    ordinal: int
    outcome: Outcome
    written: int = 0
    """Entities written for it."""
    problem: ItemProblem | None = None
    media_type: str = ""
    """IANA media type, as far as its bytes were read."""
    asset: str = ""
    """`assets/{asset}` that keeps its bytes; empty for none."""


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One item of a job and what became of it, as listed."""

    ordinal: int
    key: str
    source_uri: str
    place: Place
    outcome: Outcome | None
    """None: not reached."""
    asset: str
    media_type: str
    written: int
    """Entities written for it."""
    attempts: int


@dataclass(frozen=True, slots=True)
class VanishedItem:
    """One item that an earlier job over the same source stored, and that is gone now."""

    key: str
    generation: int
    """Of the job that stored it."""
    ordinal: int
    """Its number in that job."""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """One item that failed, as listed."""

    sequence: int
    """Rises in the order of failing."""
    item: str
    source_uri: str
    problem: ItemProblem
    attempts: int
    failed_at: datetime
