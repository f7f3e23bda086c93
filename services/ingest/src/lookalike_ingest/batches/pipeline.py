"""Wires the steps for one batch of items, and holds nothing between batches.

    fetch ─┐                                                 ┌─ keep the original ─┐
           ├─ decode ── compare ── split ═╦═ chunk by chunk ═╪═════ encode ════════╪═ write
    unpack ┘   (threads)          (threads, workers)         └─────────────────────┘

An item that fails in a step becomes a result and leaves the batch; the others go on.
"""

from collections.abc import AsyncGenerator, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial

from lookalike_common.errors import EncoderMismatchError, LookalikeError
from lookalike_common.ids import WHOLE, entity_id
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.batches.batch_report import BatchReport
from lookalike_ingest.batches.parts import Chunk, ChunkLimits, PartStream
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.batches.preparation import Preparation, Prepared, split
from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.batches.storing import Changed, Storing, Vectors
from lookalike_ingest.concurrency import gather_all, run_sliced
from lookalike_ingest.encoding import Encoder, EncoderFacts
from lookalike_ingest.entities import Collection, EntityStore, GivenField, VectorField
from lookalike_ingest.job import CollectionSource, Item, ItemResult, Job, Outcome, TableSource
from lookalike_ingest.loop_calls import LoopCalls
from lookalike_ingest.object_finding import ObjectFinder, detectors_of
from lookalike_ingest.original import Original
from lookalike_ingest.steps.compare import Candidate, CompareInput, CompareStep, Difference
from lookalike_ingest.steps.encode import EncodeInput, EncodeStep
from lookalike_ingest.steps.split import Part, SplitContext
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.steps.write import WriteStep, WriteTarget

_IF_WRITTEN = {Difference.ABSENT: Outcome.CREATED, Difference.CHANGED: Outcome.UPDATED}
"""What a dry run foretells."""
_PREPARED_AT_ONCE = 8
"""Items that a thread prepares before it hands over."""


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
        entities: EntityStore,
        threads: ThreadPoolExecutor,
        chunks: ChunkLimits,
        split_at_once: int,
    ) -> None:
        self._preparation = preparation
        self._compare = compare
        self._encode = encode
        self._write = write
        self._encoder = encoder
        self._assets = assets
        self._entities = entities
        self._threads = threads
        self._stream = PartStream(threads, chunks, split_at_once)

    async def run(
        self, job: Job, collection: Collection, items: Sequence[Item], patience: Patience
    ) -> BatchReport:
        """Bring items to their outcomes. Raises JobFailedError for what ends the whole job."""
        calls = LoopCalls()
        return await calls.during(self._run(job, collection, items, patience, calls))

    async def _run(
        self,
        job: Job,
        collection: Collection,
        items: Sequence[Item],
        patience: Patience,
        calls: LoopCalls,
    ) -> BatchReport:
        report = BatchReport()
        try:
            context = await self._context(job, collection, patience, calls)
            prepare = partial(self._prepare, job, context, items, report)
            prepared = await patience.call("source", prepare)
            changed = await self._drop_unchanged(job, collection, prepared, patience, report)
            report.stored_bytes += sum(
                each.prepared.original.size for each in changed if each.prepared.asset
            )
            if job.spec.options.dry_run:
                await self._try(collection, changed, report)
            else:
                await self._store(job, collection, changed, patience, report)
                failed = _tried_before(items, report)
                report.removed += await self._erase_leftovers(job, collection, failed, patience)
        except LookalikeError as error:
            raise JobFailedError(error) from error
        return report

    async def _context(
        self, job: Job, collection: Collection, patience: Patience, calls: LoopCalls
    ) -> SplitContext:
        facts = await self._describe({each.encoder for each in collection.fields}, patience)
        found = await self._describe(detectors_of(job.spec.splitter), patience)
        source = job.spec.source
        brings_vectors = isinstance(source, CollectionSource) or (
            isinstance(source, TableSource) and source.brings_vectors
        )
        if not collection.fields and not brings_vectors:
            raise EncoderMismatchError(
                "no vector field of the collection has an encoder; write its entities with their "
                "vectors, by a table or through EntityService"
            )
        finder = ObjectFinder(self._encoder, patience, calls, found)
        spec = job.spec
        return SplitContext(collection, facts, spec.splitter, spec.options.keep_location, finder)

    async def _describe(
        self, encoders: Iterable[str], patience: Patience
    ) -> Mapping[str, EncoderFacts]:
        return {
            each: await patience.call("encoder", partial(self._encoder.describe, each))
            for each in sorted(encoders)
        }

    async def _prepare(
        self, job: Job, context: SplitContext, items: Sequence[Item], report: BatchReport
    ) -> Sequence[Prepared]:
        def run(some: Sequence[Item]) -> tuple[Sequence[Prepared | ItemResult], Stopwatch]:
            stopwatch = Stopwatch()
            return self._preparation.run(job, context, some, stopwatch), stopwatch

        prepared: list[Prepared] = []
        for results, stopwatch in await run_sliced(self._threads, items, _PREPARED_AT_ONCE, run):
            report.stopwatch.add(stopwatch)
            for each in results:
                if isinstance(each, Prepared):
                    prepared.append(each)
                else:
                    report.results.append(each)
        return prepared

    async def _drop_unchanged(
        self,
        job: Job,
        collection: Collection,
        prepared: Sequence[Prepared],
        patience: Patience,
        report: BatchReport,
    ) -> Sequence[Changed]:
        """Return the items that must be written, those that are split at once first."""
        candidates = [Candidate(each.entity_id(0), each.content_hash) for each in prepared]
        with report.stopwatch.measure("write"):
            compared = await self._compare.run(
                CompareInput(collection.name, job.generation, candidates), patience
            )
        changed: list[Changed] = []
        for each, difference in zip(prepared, compared.differences, strict=True):
            if difference is Difference.NONE:
                report.results.append(each.result(Outcome.UNCHANGED))
            else:
                changed.append(Changed(each, difference))
        return sorted(changed, key=lambda each: each.prepared.splitter.heavy)

    async def _try(
        self, collection: Collection, changed: Sequence[Changed], report: BatchReport
    ) -> None:
        """Split the items to see whether they can be; foretell what would become of them."""
        async for chunk in self._chunks(changed, report):
            report.stored_bytes += len(chunk.parts) * _vector_bytes(collection)
            for piece in chunk.pieces:
                item = changed[piece.index]
                if piece.failure is not None:
                    report.results.append(item.prepared.failed(piece.failure))
                elif piece.ended:
                    foretold = _IF_WRITTEN.get(item.difference, Outcome.UNCHANGED)
                    report.results.append(item.prepared.result(foretold))

    async def _store(
        self,
        job: Job,
        collection: Collection,
        changed: Sequence[Changed],
        patience: Patience,
        report: BatchReport,
    ) -> None:
        """Split, encode and write chunk by chunk, and keep the originals beside it."""
        target = WriteTarget(
            collection.name,
            job.generation,
            {each.name: each.fingerprint for each in collection.fields},
        )
        storing = Storing(job, changed, self._write.begin(target, patience), report)
        kept: set[int] = set()
        async for pulled in self._chunks(changed, report, storing.failed):
            chunk = Chunk([each for each in pulled.pieces if each.index not in storing.failed])
            report.stored_bytes += len(chunk.parts) * _vector_bytes(collection)
            fresh = {piece.index for piece in chunk.pieces} - kept
            kept |= fresh
            vectors, _ = await gather_all(
                [
                    self._encode_parts(collection, chunk.parts, patience, report),
                    self._keep_all(job, [changed[index].prepared for index in fresh], patience),
                ]
            )
            with report.stopwatch.measure("write"):
                await storing.write(chunk, vectors)
        report.removed += storing.writing.removed

    async def _chunks(
        self, changed: Sequence[Changed], report: BatchReport, given_up: Container[int] = ()
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the parts of the items; light ones stand before heavy ones."""
        watches = [Stopwatch() for _ in changed]
        splits = [
            partial(split, each.prepared, watch)
            for each, watch in zip(changed, watches, strict=True)
        ]
        light = sum(not each.prepared.splitter.heavy for each in changed)
        async with aclosing(
            self._stream.chunks(splits[:light], splits[light:], given_up)
        ) as chunks:
            async for chunk in chunks:
                yield chunk
        for watch in watches:
            report.stopwatch.add(watch)

    async def _encode_parts(
        self, collection: Collection, parts: Sequence[Part], patience: Patience, report: BatchReport
    ) -> Sequence[Vectors]:
        """Return the vectors of parts, those that were given and those that are made."""
        names = {field.name for field in collection.fields}
        contents = {
            index: part.content
            for index, part in enumerate(parts)
            if part.content is not None and not names <= part.vectors.keys()
        }
        made: Mapping[int, Vectors] = {}
        if contents:
            with report.stopwatch.measure("encode"):
                batch = EncodeInput(collection.fields, list(contents.values()))
                output = await self._encode.run(batch, patience)
            made = dict(zip(contents, output.results, strict=True))
        return [_together(made.get(index, {}), part) for index, part in enumerate(parts)]

    async def _keep_all(
        self, job: Job, items: Sequence[Prepared], patience: Patience
    ) -> Sequence[Vectors]:
        """Keep originals as assets."""
        await gather_all(
            self._keep(job, each.original, patience)
            for each in items
            if each.asset and not each.original.stored
        )
        return ()

    async def _keep(self, job: Job, original: Original, patience: Patience) -> None:
        if original.data is not None:
            put = partial(self._assets.put, job.tenant, original.sha256, original.data)
        else:
            put = partial(self._assets.put_file, job.tenant, original.sha256, original.open)
        await patience.call("assets", put)

    async def _erase_leftovers(
        self, job: Job, collection: Collection, items: Sequence[Item], patience: Patience
    ) -> int:
        """Remove what earlier tries of this job wrote of items that then failed; return how much.

        What an older job stored whole is left alone: its commit record still stands.
        """
        ids = [entity_id(item.key, WHOLE, 0) for item in items]
        if not ids:
            return 0
        find = partial(self._entities.find_stored, collection.name, ids)
        stored = await patience.call("search", find)
        broken = [
            item.key
            for item, each in zip(items, ids, strict=True)
            if each not in stored or stored[each].generation == job.generation
        ]
        writing = self._write.begin(WriteTarget(collection.name, job.generation), patience)
        await writing.erase(broken)
        return writing.removed


def _vector_bytes(collection: Collection) -> int:
    """Return what the vectors of one entity take."""
    fields: list[VectorField | GivenField] = [*collection.fields, *collection.given]
    return sum(each.dimensions // 8 if each.binary else each.dimensions * 4 for each in fields)


def _together(made: Vectors, part: Part) -> Vectors:
    return made if isinstance(made, LookalikeError) else {**made, **part.vectors}


def _tried_before(items: Sequence[Item], report: BatchReport) -> Sequence[Item]:
    failed = {each.ordinal for each in report.results if each.outcome is Outcome.FAILED}
    return [item for item in items if item.ordinal in failed and item.attempts > 1]
