"""What became of a batch of items."""

from dataclasses import dataclass, field

from lookalike_ingest.batches.stopwatch import Stopwatch
from lookalike_ingest.job import ItemResult


@dataclass(slots=True)
class BatchReport:
    """What became of a batch."""

    results: list[ItemResult] = field(default_factory=list)
    removed: int = 0
    """Stale entities removed."""
    stored_bytes: int = 0
    """What originals and vectors take, or would take after a dry run."""
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
