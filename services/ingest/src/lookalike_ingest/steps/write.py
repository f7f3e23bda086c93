"""Step 6: entities into the collection, so that at no moment anything stale can stay.

    revoke → later parts → sweep older generations → segment 0

Segment 0 is the commit record: its content hash says that the whole item is stored. Where another
content is to be replaced, that record is revoked first (the new vectors under no content's hash),
for the next steps destroy what it vouches for. A crash anywhere in between leaves an item that
counts as not written, whatever its source holds by then, and the next run repeats all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batching import cut
from lookalike_ingest.bisection import Bisection
from lookalike_ingest.entities import EntityStore, EntityWrite, Sweep
from lookalike_ingest.job import Outcome
from lookalike_ingest.patience import Patience
from lookalike_ingest.steps.step import JobFailedError, StepError

_MAX_ENTITIES = 100
"""Entities in a request: validating more takes the server too long at a stretch."""
_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """The entities of one item."""

    parts: Sequence[EntityWrite]
    """In their order, so the first one is segment 0."""
    replaces: bool = False
    """Whether a segment 0 with another content is stored."""


@dataclass(frozen=True, slots=True)
class WriteInput:
    """Some items to write."""

    collection: str
    generation: int
    items: Sequence[ItemWrite]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the encoders that made the vectors, by vector field."""


@dataclass(frozen=True, slots=True)
class Written:
    """An item that is in the collection."""

    outcome: Outcome
    entities: int


@dataclass(frozen=True, slots=True)
class WriteOutput:
    """What became of the items, in order, and how many stale entities went."""

    results: Sequence[Written | LookalikeError]
    removed: int


class WriteError(StepError):
    """The search service refused the item."""

    step = "write"


class WriteStep:
    """Writes batches."""

    def __init__(self, entities: EntityStore) -> None:
        self._entities = entities

    async def run(self, batch: WriteInput, patience: Patience) -> WriteOutput:
        """Write items. Raises JobFailedError, such as when the collection is gone."""
        results: dict[int, Written | LookalikeError] = {}
        await self._revoke(batch, results, patience)
        await self._write_later_parts(batch, results, patience)
        good = [index for index in range(len(batch.items)) if index not in results]
        removed = await self._sweep(batch, good, patience)
        outcomes = await self._upsert(
            batch, [batch.items[index].parts[0] for index in good], patience
        )
        for index, outcome in zip(good, outcomes, strict=True):
            if isinstance(outcome, LookalikeError):
                results[index] = outcome
            else:
                results[index] = Written(outcome, len(batch.items[index].parts))
        return WriteOutput([results[index] for index in range(len(batch.items))], removed)

    async def _revoke(
        self,
        batch: WriteInput,
        results: dict[int, Written | LookalikeError],
        patience: Patience,
    ) -> None:
        """Take back the commit records of items that are replaced; they stay searchable."""
        await self._write_parts(
            batch,
            [
                (index, replace(item.parts[0], content_hash=""))
                for index, item in enumerate(batch.items)
                if item.replaces
            ],
            results,
            patience,
        )

    async def _write_later_parts(
        self,
        batch: WriteInput,
        results: dict[int, Written | LookalikeError],
        patience: Patience,
    ) -> None:
        """Write all segments but the first."""
        await self._write_parts(
            batch,
            [
                (index, part)
                for index, item in enumerate(batch.items)
                if index not in results
                for part in item.parts[1:]
            ],
            results,
            patience,
        )

    async def _write_parts(
        self,
        batch: WriteInput,
        owners: Sequence[tuple[int, EntityWrite]],
        results: dict[int, Written | LookalikeError],
        patience: Patience,
    ) -> None:
        """Write parts by their items' indices; an item of which one is refused is given up."""
        outcomes = await self._upsert(batch, [part for _, part in owners], patience)
        for (index, _), outcome in zip(owners, outcomes, strict=True):
            if isinstance(outcome, LookalikeError):
                results.setdefault(index, outcome)

    async def _sweep(self, batch: WriteInput, indices: Sequence[int], patience: Patience) -> int:
        sweeps = [
            Sweep(first.item, batch.generation, [first.id])
            for first in (batch.items[index].parts[0] for index in indices)
        ]
        if not sweeps:
            return 0
        try:
            return await patience.call(
                "search", lambda: self._entities.sweep(batch.collection, sweeps)
            )
        except LookalikeError as error:
            raise JobFailedError(error) from error

    async def _upsert(
        self, batch: WriteInput, entities: Sequence[EntityWrite], patience: Patience
    ) -> Sequence[Outcome | LookalikeError]:
        bisection = Bisection("search", patience)
        outcomes: list[Outcome | LookalikeError] = []

        async def call(items: Sequence[EntityWrite]) -> Sequence[Outcome | LookalikeError]:
            return await self._entities.upsert(batch.collection, items, batch.fingerprints)

        for run in cut([_size_of(each) for each in entities], _MAX_ENTITIES, _MAX_BYTES):
            outcomes += await bisection.call(entities[run], call)
        return outcomes


def _size_of(entity: EntityWrite) -> int:
    return len(entity.text) + sum(map(len, entity.vectors.values()))
