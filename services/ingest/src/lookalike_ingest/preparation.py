"""The steps that work on one item alone: its bytes, what they are, and its parts.

They block (files, hashing, unpacking), so the pipeline runs them in threads, an item a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lookalike_common.ids import entity_id
from lookalike_ingest.content_hash import content_hash
from lookalike_ingest.entities import Collection
from lookalike_ingest.job import Attributes, Item, ItemResult, Job, Outcome
from lookalike_ingest.media_types import Modality
from lookalike_ingest.places import MemberPlace
from lookalike_ingest.steps.decode import DecodeInput, DecodeStep
from lookalike_ingest.steps.fetch import FetchInput, FetchOutput, FetchStep
from lookalike_ingest.steps.split import Part, SplitInput, Splitter
from lookalike_ingest.steps.step import ItemSkippedError, StepError
from lookalike_ingest.steps.unpack import UnpackInput, UnpackStep
from lookalike_ingest.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that was read, checked and split."""

    item: Item
    original: FetchOutput
    parts: Sequence[Part]
    entity_ids: Sequence[str]
    """Of the parts, in order."""
    content_hash: str
    attributes: Attributes
    """The job's and its own."""


@dataclass(frozen=True, slots=True)
class PreparationOutput:
    """An item that goes on, or what became of it."""

    result: Prepared | ItemResult
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


class Preparation:
    """Prepares items."""

    def __init__(
        self, fetch: FetchStep, unpack: UnpackStep, decode: DecodeStep, splitter: Splitter
    ) -> None:
        self._fetch = fetch
        self._unpack = unpack
        self._decode = decode
        self._splitter = splitter

    def run(
        self, job: Job, collection: Collection, modalities: frozenset[Modality], item: Item
    ) -> PreparationOutput:
        """Prepare one item; what goes wrong becomes its result."""
        stopwatch = Stopwatch()
        try:
            prepared = self._prepare(job, collection, modalities, item, stopwatch)
        except ItemSkippedError:
            return PreparationOutput(ItemResult(item.ordinal, Outcome.SKIPPED), stopwatch)
        except StepError as error:
            failed = ItemResult(item.ordinal, Outcome.FAILED, problem=error.to_problem())
            return PreparationOutput(failed, stopwatch)
        return PreparationOutput(prepared, stopwatch)

    def _prepare(
        self,
        job: Job,
        collection: Collection,
        modalities: frozenset[Modality],
        item: Item,
        stopwatch: Stopwatch,
    ) -> Prepared:
        with stopwatch.measure("fetch"):
            original = self._read(job, item)
        with stopwatch.measure("decode"):
            decoded = self._decode.run(DecodeInput(original, modalities))
            parts = self._splitter.run(SplitInput(decoded)).parts
        attributes = {**job.spec.attributes, **item.attributes}
        identity = self._splitter.identity
        return Prepared(
            item=item,
            original=original,
            parts=parts,
            entity_ids=[entity_id(item.key, self._splitter.name, part.index) for part in parts],
            content_hash=content_hash(original.sha256, identity, collection.fields, attributes),
            attributes=attributes,
        )

    def _read(self, job: Job, item: Item) -> FetchOutput:
        if isinstance(item.place, MemberPlace):
            return self._unpack.run(UnpackInput(job.tenant, item.place))
        return self._fetch.run(FetchInput(job.tenant, job.id, item.source_uri, item.place))
