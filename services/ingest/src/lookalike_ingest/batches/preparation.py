"""The steps that work on one item alone: its bytes, what they are, and its parts.

They block (files, hashing, decoding), so the pipeline runs them in threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lookalike_common.errors import (
    InternalError,
    InvalidContentError,
    LocationNotAllowedError,
    LookalikeError,
    NotFoundError,
    SourceChangedError,
)
from lookalike_common.ids import WHOLE, entity_id
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.content_hash import content_hash
from lookalike_ingest.entities import AttributeType
from lookalike_ingest.found_attributes import as_declared, identity_of, of_place
from lookalike_ingest.job import Attributes, Item, ItemResult, Job, Outcome, TableSource
from lookalike_ingest.original import Blob, Original, Row
from lookalike_ingest.places import (
    AssetPlace,
    EntityPlace,
    MemberPlace,
    ParquetPlace,
    SlicePlace,
    line_of,
)
from lookalike_ingest.steps.decode import DecodeError, DecodeInput, DecodeStep
from lookalike_ingest.steps.fetch import FetchError, FetchInput, FetchStep
from lookalike_ingest.steps.read_row import ReadRowInput, ReadRowStep, row_blob
from lookalike_ingest.steps.split import Part, SplitContext, SplitError, Splitter
from lookalike_ingest.steps.step import ItemSkippedError, StepError
from lookalike_ingest.steps.unpack import UnpackInput, UnpackStep

_GONE = (LocationNotAllowedError, NotFoundError, SourceChangedError)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that was read and recognised, and not yet split."""

    item: Item
    original: Original
    splitter: Splitter
    content_hash: str
    attributes: Attributes
    """The job's and its own."""
    declared: Mapping[str, AttributeType]
    """Attributes that the collection declares."""
    asset: str
    """`assets/{asset}` where the original is, or will be, kept; else empty."""

    def entity_id(self, index: int) -> str:
        """Return the id of a part's entity; the first one's is the same for every splitter."""
        return entity_id(self.item.key, self.splitter.name if index else WHOLE, index)

    def result(self, outcome: Outcome, written: int = 0) -> ItemResult:
        """Return what became of it."""
        return ItemResult(
            self.item.ordinal, outcome, written, None, self.original.media_type.name, self.asset
        )

    def failed(self, error: StepError) -> ItemResult:
        """Return that it failed."""
        return ItemResult(
            self.item.ordinal,
            Outcome.FAILED,
            problem=replace(error.to_problem(), line=line_of(self.item.place)),
            media_type=self.original.media_type.name,
            asset=error.asset,
        )


class Preparation:
    """Prepares items."""

    def __init__(
        self, fetch: FetchStep, unpack: UnpackStep, read_row: ReadRowStep, decode: DecodeStep
    ) -> None:
        self._fetch = fetch
        self._unpack = unpack
        self._read_row = read_row
        self._decode = decode

    def run(
        self, job: Job, context: SplitContext, items: Sequence[Item], stopwatch: Stopwatch
    ) -> Sequence[Prepared | ItemResult]:
        """Prepare items; what goes wrong with one becomes its result."""
        return [self._run_one(job, context, item, stopwatch) for item in items]

    def _run_one(
        self, job: Job, context: SplitContext, item: Item, stopwatch: Stopwatch
    ) -> Prepared | ItemResult:
        try:
            return self._prepare(job, context, item, stopwatch)
        except ItemSkippedError:
            return ItemResult(item.ordinal, Outcome.SKIPPED)
        except StepError as error:
            if isinstance(error.cause, TRANSIENT):
                raise error.cause from error  # no fault of the item's: it is tried again
            problem = replace(error.to_problem(), line=line_of(item.place))
            return ItemResult(item.ordinal, Outcome.FAILED, problem=problem)

    def _prepare(
        self, job: Job, context: SplitContext, item: Item, stopwatch: Stopwatch
    ) -> Prepared:
        with stopwatch.measure("fetch"):
            blob = self._open(job, context, item)
            try:
                with blob.file:
                    decoded = self._decode.run(DecodeInput(blob, context))
            except OSError as error:
                raise FetchError(error) from error
            except DecodeError as error:  # what is far away is opened first and brought later
                if isinstance(error.cause, _GONE):
                    raise FetchError(error.cause) from error
                raise
        original, splitter = decoded.original, decoded.splitter
        declared, row = context.collection.attributes, original.row
        found = {} if row else of_place(job, item.key, original.media_type)
        attributes = {
            **as_declared(found, declared),
            **job.spec.attributes,
            **item.attributes,
            **(row.attributes if row else {}),
        }
        kept = original.stored or (original.keep and not job.spec.options.discard_assets)
        return Prepared(
            item=item,
            original=original,
            splitter=splitter,
            content_hash=content_hash(
                original.sha256,
                splitter.identity + identity_of(declared),
                context.collection.fields,
                attributes,
            ),
            attributes=attributes,
            declared=declared,
            asset=asset_name(original.sha256) if kept else "",
        )

    def _open(self, job: Job, context: SplitContext, item: Item) -> Blob:
        source, place = job.spec.source, item.place
        if isinstance(source, TableSource) and isinstance(place, SlicePlace | ParquetPlace):
            row = ReadRowInput(job.tenant, source, context.collection, place)
            return self._read_row.run(row)
        if isinstance(place, EntityPlace):
            vectors = {name: bytes.fromhex(each) for name, each in place.vectors.items()}
            blob = row_blob(Row(text=place.text, vectors=vectors, copied=True))
            return replace(blob, sha256=place.asset, stored=bool(place.asset))
        if isinstance(place, ParquetPlace):
            raise FetchError(InternalError("the row of a table outside of a job over a table"))
        if isinstance(place, MemberPlace | SlicePlace):
            return self._unpack.run(UnpackInput(job.tenant, place))
        name = place.name if isinstance(place, AssetPlace) else ""
        return self._fetch.run(FetchInput(job.tenant, job.id, name or item.source_uri, place))


def split(prepared: Prepared, stopwatch: Stopwatch) -> Iterator[Part]:
    """Yield an item's parts; blocks. Raises StepError, also for an item without any part."""
    parts = prepared.splitter.split(prepared.original)
    empty = True
    try:
        while (part := _next(parts, stopwatch)) is not None:
            empty = False
            yield replace(part, attributes=as_declared(part.attributes, prepared.declared))
    except LookalikeError as error:
        raise DecodeError(error, asset=_stored(prepared)) from error
    except OSError as error:
        raise FetchError(error, asset=_stored(prepared)) from error
    if empty:
        nothing = InvalidContentError("there is nothing in it to search for")
        raise SplitError(nothing, asset=_stored(prepared))


def _next(parts: Iterator[Part], stopwatch: Stopwatch) -> Part | None:
    with stopwatch.measure("decode"):
        return next(parts, None)


def _stored(prepared: Prepared) -> str:
    return prepared.asset if prepared.original.stored else ""
