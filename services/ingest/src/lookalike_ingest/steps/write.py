"""Step 6: entities into the collection, so that at no moment anything stale can stay.

    revoke → later parts, as they come → sweep older generations → segment 0

Segment 0 is the commit record: its content hash says that the whole item is stored. Where another
content is to be replaced, that record is revoked first (the new vectors under no content's hash),
for the next steps destroy what it vouches for. A crash anywhere in between leaves an item that
counts as not written, whatever its source holds by then, and the next run repeats all of it. An
item that fails after it was begun is erased: half of it, or a mixture, is worse than nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.batching import cut
from lookalike_ingest.batches.bisection import Bisection
from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.entities import EntityStore, EntityWrite, Sweep
from lookalike_ingest.job import Outcome
from lookalike_ingest.steps.step import JobFailedError, StepError

_MAX_ENTITIES = 100
"""Entities in a request: validating more takes the server too long at a stretch."""
_MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """Where a batch is written."""

    collection: str
    generation: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the encoders that made the vectors, by vector field."""


@dataclass(frozen=True, slots=True)
class ItemParts:
    """Some parts of one item, in their order; the first one of all is segment 0."""

    number: int
    """Which item of the batch."""
    parts: Sequence[EntityWrite]
    replaces: bool = False
    """Whether a segment 0 with another content is stored."""
    ended: bool = True
    """Whether these are its last parts."""


@dataclass(frozen=True, slots=True)
class Written:
    """An item that is in the collection."""

    outcome: Outcome
    entities: int


class WriteError(StepError):
    """The search service refused the item."""

    step = "write"


class WriteStep:
    """Writes batches."""

    def __init__(self, entities: EntityStore) -> None:
        self._entities = entities

    def begin(self, target: WriteTarget, patience: Patience) -> "Writing":
        """Return what writes one batch, chunk by chunk."""
        return Writing(self._entities, target, patience)


@dataclass(slots=True)
class _Begun:
    """An item on its way."""

    first: EntityWrite
    entities: int = 0
    touched: bool = False
    """Whether anything of it was written, or revoked."""


class Writing:
    """Writes one batch; each method raises JobFailedError, such as when the collection is gone."""

    def __init__(self, entities: EntityStore, target: WriteTarget, patience: Patience) -> None:
        self._entities = entities
        self._target = target
        self._patience = patience
        self._begun: dict[int, _Begun] = {}
        self.removed = 0
        """Stale entities removed so far."""

    async def write(self, items: Sequence[ItemParts]) -> Mapping[int, Written | LookalikeError]:
        """Write parts; return what became of the items that ended, or were refused, by number."""
        refused: dict[int, LookalikeError] = {}
        await self._revoke(items, refused)
        await self._write_later_parts(items, refused)
        good = [item for item in items if item.ended and item.number not in refused]
        results = {**refused, **await self._commit(good)}
        await self.abandon(
            [number for number, each in results.items() if isinstance(each, LookalikeError)]
        )
        return results

    async def abandon(self, numbers: Sequence[int]) -> None:
        """Give up items that were begun: what was written of them goes."""
        begun = [self._begun.pop(number) for number in numbers if number in self._begun]
        await self.erase([each.first.item for each in begun if each.touched])

    async def erase(self, keys: Sequence[str]) -> None:
        """Remove whatever is stored of some items."""
        await self._sweep([Sweep(key, self._target.generation + 1, ()) for key in keys])

    async def _revoke(self, items: Sequence[ItemParts], refused: dict[int, LookalikeError]) -> None:
        """Take back the commit records of items that are replaced; they stay searchable."""
        fresh = [item for item in items if item.parts and item.number not in self._begun]
        for item in fresh:
            self._begun[item.number] = _Begun(item.parts[0])
        await self._write_parts(
            [
                (item.number, replace(item.parts[0], content_hash=""))
                for item in fresh
                if item.replaces
            ],
            refused,
        )

    async def _write_later_parts(
        self, items: Sequence[ItemParts], refused: dict[int, LookalikeError]
    ) -> None:
        """Write all segments but the first."""
        for item in items:
            if item.number in self._begun:
                self._begun[item.number].entities += len(item.parts)
        await self._write_parts(
            [
                (item.number, part)
                for item in items
                if item.number not in refused
                for part in item.parts
                if part is not self._begun[item.number].first
            ],
            refused,
        )

    async def _write_parts(
        self,
        owners: Sequence[tuple[int, EntityWrite]],
        refused: dict[int, LookalikeError],
    ) -> None:
        """Write parts by their items' numbers; an item of which one is refused is given up."""
        outcomes = await self._upsert([part for _, part in owners])
        for (number, _), outcome in zip(owners, outcomes, strict=True):
            if isinstance(outcome, LookalikeError):
                refused.setdefault(number, outcome)
            else:
                self._begun[number].touched = True

    async def _commit(self, items: Sequence[ItemParts]) -> Mapping[int, Written | LookalikeError]:
        """Sweep what is stale, then write the commit records."""
        begun = [self._begun[item.number] for item in items]
        await self._sweep(
            [Sweep(each.first.item, self._target.generation, [each.first.id]) for each in begun]
        )
        outcomes = await self._upsert([each.first for each in begun])
        results: dict[int, Written | LookalikeError] = {}
        for item, each, outcome in zip(items, begun, outcomes, strict=True):
            if isinstance(outcome, LookalikeError):
                results[item.number] = outcome
            else:
                results[item.number] = Written(outcome, each.entities)
                del self._begun[item.number]
        return results

    async def _sweep(self, sweeps: Sequence[Sweep]) -> None:
        if not sweeps:
            return
        collection = self._target.collection
        try:
            self.removed += await self._patience.call(
                "search", lambda: self._entities.sweep(collection, sweeps)
            )
        except LookalikeError as error:
            raise JobFailedError(error) from error

    async def _upsert(self, entities: Sequence[EntityWrite]) -> Sequence[Outcome | LookalikeError]:
        bisection = Bisection("search", self._patience)
        outcomes: list[Outcome | LookalikeError] = []
        target = self._target

        async def call(items: Sequence[EntityWrite]) -> Sequence[Outcome | LookalikeError]:
            return await self._entities.upsert(target.collection, items, target.fingerprints)

        for run in cut([_size_of(each) for each in entities], _MAX_ENTITIES, _MAX_BYTES):
            outcomes += await bisection.call(entities[run], call)
        return outcomes


def _size_of(entity: EntityWrite) -> int:
    return len(entity.text) + sum(map(len, entity.vectors.values()))
