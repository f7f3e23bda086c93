"""Wires the steps for one batch of items, and holds nothing between batches.

    fetch ─┐                                  ┌─ keep the original ─┐
           ├─ decode ── split ── compare ─────┤                     ├── write
    unpack ┘        (a thread an item)        └────── encode ───────┘

An item that fails in a step becomes a result and leaves the batch; the others go on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from lookalike_common.errors import EncoderMismatchError, LookalikeError
from lookalike_ingest.asset_store import AssetStore, asset_name
from lookalike_ingest.concurrency import gather_all
from lookalike_ingest.encoding import Encoder, PackedVector
from lookalike_ingest.entities import Collection, EntityWrite
from lookalike_ingest.job import Item, ItemResult, Job, Outcome
from lookalike_ingest.media_types import Modality
from lookalike_ingest.patience import Patience
from lookalike_ingest.preparation import Preparation, Prepared
from lookalike_ingest.steps.compare import Candidate, CompareInput, CompareStep, Difference
from lookalike_ingest.steps.encode import EncodeError, EncodeInput, EncodeStep
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.steps.write import ItemWrite, WriteError, WriteInput, WriteStep
from lookalike_ingest.stopwatch import Stopwatch

_IF_WRITTEN = {Difference.ABSENT: Outcome.CREATED, Difference.CHANGED: Outcome.UPDATED}
"""What a dry run foretells."""


@dataclass(slots=True)
class BatchReport:
    """What became of a batch."""

    results: list[ItemResult] = field(default_factory=list)
    removed: int = 0
    """Stale entities removed."""
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True, slots=True)
class Changed:
    """An item that must be written."""

    prepared: Prepared
    replaces: bool
    """Whether it is stored with another content."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An item with the vectors of its parts, in their order."""

    changed: Changed
    vectors: Sequence[Mapping[str, PackedVector]]


class Pipeline:
    """Runs batches."""

    def __init__(
        self,
        preparation: Preparation,
        compare: CompareStep,
        encode: EncodeStep,
        write: WriteStep,
        *,
        encoder: Encoder,
        assets: AssetStore,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._preparation = preparation
        self._compare = compare
        self._encode = encode
        self._write = write
        self._encoder = encoder
        self._assets = assets
        self._threads = threads

    async def run(
        self, job: Job, collection: Collection, items: Sequence[Item], patience: Patience
    ) -> BatchReport:
        """Bring items to their outcomes. Raises JobFailedError for what ends the whole job."""
        report = BatchReport()
        try:
            prepared = await self._prepare_all(job, collection, items, patience, report)
            changed = await self._drop_unchanged(job, collection, prepared, patience, report)
            if not job.spec.options.dry_run:
                encoded = await self._encode_all(job, collection, changed, patience, report)
                await self._write_all(job, collection, encoded, patience, report)
        except LookalikeError as error:
            raise JobFailedError(error) from error
        return report

    async def _prepare_all(
        self,
        job: Job,
        collection: Collection,
        items: Sequence[Item],
        patience: Patience,
        report: BatchReport,
    ) -> Sequence[Prepared]:
        modalities = await self._modalities(collection, patience)
        loop = asyncio.get_running_loop()
        outputs = await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._threads, self._preparation.run, job, collection, modalities, item
                )
                for item in items
            )
        )
        for output in outputs:
            report.stopwatch.add(output.stopwatch)
        ended = [each.result for each in outputs if isinstance(each.result, ItemResult)]
        report.results += ended
        return [each.result for each in outputs if isinstance(each.result, Prepared)]

    async def _modalities(self, collection: Collection, patience: Patience) -> frozenset[Modality]:
        taken: set[Modality] = set()
        for each in collection.fields:
            describe = partial(self._encoder.describe, each.encoder)
            taken |= (await patience.call("encoder", describe)).modalities
        if not collection.fields:
            raise EncoderMismatchError(
                "no vector field of the collection has an encoder; write its entities, with "
                "their vectors, through EntityService"
            )
        return frozenset(taken)

    async def _drop_unchanged(
        self,
        job: Job,
        collection: Collection,
        prepared: Sequence[Prepared],
        patience: Patience,
        report: BatchReport,
    ) -> Sequence[Changed]:
        """Return the items that must be written; of a dry run, only their outcomes are noted."""
        candidates = [Candidate(each.entity_ids[0], each.content_hash) for each in prepared]
        with report.stopwatch.measure("write"):
            compared = await self._compare.run(
                CompareInput(collection.name, job.generation, candidates), patience
            )
        changed: list[Changed] = []
        for each, difference in zip(prepared, compared.differences, strict=True):
            if difference is Difference.NONE:
                report.results.append(ItemResult(each.item.ordinal, Outcome.UNCHANGED))
            elif job.spec.options.dry_run:
                foretold = _IF_WRITTEN.get(difference, Outcome.UNCHANGED)
                report.results.append(ItemResult(each.item.ordinal, foretold))
            else:
                changed.append(Changed(each, difference is Difference.CHANGED))
        return changed

    async def _encode_all(
        self,
        job: Job,
        collection: Collection,
        changed: Sequence[Changed],
        patience: Patience,
        report: BatchReport,
    ) -> Sequence[Encoded]:
        """Encode all parts of all items in one go, while their originals are kept."""
        prepared = [each.prepared for each in changed]
        contents = [part.content for each in prepared for part in each.parts]

        async def encode() -> Sequence[Mapping[str, PackedVector] | LookalikeError]:
            with report.stopwatch.measure("encode"):
                batch = EncodeInput(collection.fields, contents)
                return (await self._encode.run(batch, patience)).results

        async def keep() -> Sequence[Mapping[str, PackedVector] | LookalikeError]:
            if not job.spec.options.discard_assets:
                await gather_all(self._keep(job, each, patience) for each in prepared)
            return ()

        results, _ = await gather_all([encode(), keep()])
        return _share_out(job, changed, results, report)

    async def _keep(self, job: Job, prepared: Prepared, patience: Patience) -> None:
        original = prepared.original
        if not original.stored:
            put = partial(self._assets.put, job.tenant, original.sha256, original.data)
            await patience.call("assets", put)

    async def _write_all(
        self,
        job: Job,
        collection: Collection,
        encoded: Sequence[Encoded],
        patience: Patience,
        report: BatchReport,
    ) -> None:
        batch = WriteInput(
            collection.name,
            job.generation,
            [ItemWrite(_entities(job, each), each.changed.replaces) for each in encoded],
            {each.name: each.fingerprint for each in collection.fields},
        )
        with report.stopwatch.measure("write"):
            output = await self._write.run(batch, patience)
        report.removed += output.removed
        for each, result in zip(encoded, output.results, strict=True):
            prepared = each.changed.prepared
            ordinal = prepared.item.ordinal
            if isinstance(result, LookalikeError):
                failure = WriteError(result, asset=_asset(job, prepared))
                report.results.append(_failed(ordinal, failure))
            else:
                report.results.append(ItemResult(ordinal, result.outcome, result.entities))


def _share_out(
    job: Job,
    changed: Sequence[Changed],
    results: Sequence[Mapping[str, PackedVector] | LookalikeError],
    report: BatchReport,
) -> Sequence[Encoded]:
    """Give each item the vectors of its parts; an item with a refused part fails."""
    encoded: list[Encoded] = []
    start = 0
    for each in changed:
        count = len(each.prepared.parts)
        own = results[start : start + count]
        start += count
        refused = next((result for result in own if isinstance(result, LookalikeError)), None)
        if refused is None:
            vectors = [result for result in own if not isinstance(result, LookalikeError)]
            encoded.append(Encoded(each, vectors))
        else:
            failure = EncodeError(refused, asset=_asset(job, each.prepared))
            report.results.append(_failed(each.prepared.item.ordinal, failure))
    return encoded


def _entities(job: Job, encoded: Encoded) -> Sequence[EntityWrite]:
    prepared = encoded.changed.prepared
    return [
        EntityWrite(
            id=identifier,
            item=prepared.item.key,
            index=part.index,
            content_hash=prepared.content_hash,
            generation=job.generation,
            vectors=vectors,
            asset=_asset(job, prepared),
            text=part.text,
            attributes=prepared.attributes,
            source_uri=prepared.item.source_uri,
        )
        for identifier, part, vectors in zip(
            prepared.entity_ids, prepared.parts, encoded.vectors, strict=True
        )
    ]


def _asset(job: Job, prepared: Prepared) -> str:
    kept = prepared.original.stored or not job.spec.options.discard_assets
    return asset_name(prepared.original.sha256) if kept else ""


def _failed(ordinal: int, error: EncodeError | WriteError) -> ItemResult:
    return ItemResult(ordinal, Outcome.FAILED, problem=error.to_problem())
