"""Between splitting and encoding: which items of a batch are stored as they are already.

An item's segment 0 is written last, so it is the commit record: if it has the same content hash,
the item is unchanged. If this very job wrote it, before a crash, the item is written again, which
changes nothing but lets it be counted as what it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from lookalike_ingest.batches.patience import Patience
from lookalike_ingest.entities import EntityStore, StoredEntity


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item by its segment 0."""

    entity_id: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class CompareInput:
    """The items of a batch."""

    collection: str
    generation: int
    candidates: Sequence[Candidate]


class Difference(Enum):
    """How an item differs from what is stored."""

    ABSENT = auto()
    CHANGED = auto()
    OWN = auto()
    """Written by this job."""
    NONE = auto()


@dataclass(frozen=True, slots=True)
class CompareOutput:
    """The differences, in the order of the items."""

    differences: Sequence[Difference]


class CompareStep:
    """Looks up what is stored."""

    def __init__(self, entities: EntityStore) -> None:
        self._entities = entities

    async def run(self, batch: CompareInput, patience: Patience) -> CompareOutput:
        """Return differences. Raises what waiting does not cure; no item fails here alone."""
        ids = [each.entity_id for each in batch.candidates]
        if not ids:
            return CompareOutput(())
        stored = await patience.call(
            "search", lambda: self._entities.find_stored(batch.collection, ids)
        )
        return CompareOutput(
            [
                _difference(each, stored.get(each.entity_id), batch.generation)
                for each in batch.candidates
            ]
        )


def _difference(candidate: Candidate, stored: StoredEntity | None, generation: int) -> Difference:
    if stored is None:
        return Difference.ABSENT
    if stored.content_hash != candidate.content_hash:
        return Difference.CHANGED
    return Difference.OWN if stored.generation == generation else Difference.NONE
