"""From parts and their vectors to written items: the last stretch of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.batch_report import BatchReport
from lookalike_ingest.batches.parts import Chunk, Piece
from lookalike_ingest.batches.preparation import Prepared
from lookalike_ingest.encoding import PackedVector
from lookalike_ingest.entities import EntityWrite
from lookalike_ingest.job import Job
from lookalike_ingest.steps.compare import Difference
from lookalike_ingest.steps.encode import EncodeError
from lookalike_ingest.steps.split import Part
from lookalike_ingest.steps.step import StepError
from lookalike_ingest.steps.write import ItemParts, WriteError, Writing, Written


@dataclass(frozen=True, slots=True)
class Changed:
    """An item that must be written."""

    prepared: Prepared
    difference: Difference


Vectors = Mapping[str, PackedVector] | LookalikeError
"""Vectors of one part by vector field, or why there are none."""


@dataclass(slots=True)
class Storing:
    """Writes the items of one batch, and notes what became of them."""

    job: Job
    items: Sequence[Changed]
    writing: Writing
    report: BatchReport
    failed: set[int] = field(default_factory=set, init=False)
    """Items of which nothing more need be split, encoded or written."""

    async def write(self, chunk: Chunk, vectors: Sequence[Vectors]) -> None:
        """Write a chunk; `vectors` are of its parts, in order."""
        own = iter(vectors)
        writes = [self._compose(piece, [next(own) for _ in piece.parts]) for piece in chunk.pieces]
        results = await self.writing.write([each for each in writes if each is not None])
        for number, result in results.items():
            prepared = self.items[number].prepared
            if isinstance(result, Written):
                self.report.results.append(prepared.result(result.outcome, result.entities))
            else:
                self._fail(number, WriteError(result, asset=prepared.asset))
        await self.writing.abandon(sorted(self.failed))

    def _compose(self, piece: Piece, vectors: Sequence[Vectors]) -> ItemParts | None:
        """Return what is to be written of an item; None for one that failed."""
        number, prepared = piece.index, self.items[piece.index].prepared
        for part, result in zip(piece.parts, vectors, strict=True):
            if isinstance(result, LookalikeError):
                segment = part.segment
                self._fail(number, EncodeError(result, asset=prepared.asset, segment=segment))
        if piece.failure is not None:
            self._fail(number, piece.failure)
        if number in self.failed:
            return None
        entities = [
            self._entity(prepared, part, result)
            for part, result in zip(piece.parts, vectors, strict=True)
            if not isinstance(result, LookalikeError)
        ]
        replaces = self.items[number].difference is Difference.CHANGED
        return ItemParts(number, entities, replaces, piece.ended)

    def _fail(self, number: int, error: StepError) -> None:
        """Note the first failure of an item."""
        if number not in self.failed:
            self.failed.add(number)
            self.report.results.append(self.items[number].prepared.failed(error))

    def _entity(
        self, prepared: Prepared, part: Part, vectors: Mapping[str, PackedVector]
    ) -> EntityWrite:
        return EntityWrite(
            id=prepared.entity_id(part.index),
            item=prepared.item.key,
            index=part.index,
            content_hash=prepared.content_hash,
            generation=self.job.generation,
            vectors=vectors,
            asset=prepared.asset,
            text=part.text,
            attributes={**part.attributes, **part.record, **prepared.attributes},
            source_uri=prepared.item.source_uri,
            segment=part.segment,
        )
