"""Items of a job as messages of the API; pure."""

from collections.abc import Mapping, Sequence

from lookalike.ingest.v1 import job_pb2
from lookalike_ingest.job import ListedItem, Outcome
from lookalike_ingest.places import line_of

_OUTCOMES: Mapping[job_pb2.JobItem.Outcome.ValueType, Outcome | None] = {
    job_pb2.JobItem.OUTCOME_UNSPECIFIED: None,
    job_pb2.JobItem.OUTCOME_CREATED: Outcome.CREATED,
    job_pb2.JobItem.OUTCOME_UPDATED: Outcome.UPDATED,
    job_pb2.JobItem.OUTCOME_UNCHANGED: Outcome.UNCHANGED,
    job_pb2.JobItem.OUTCOME_SKIPPED: Outcome.SKIPPED,
    job_pb2.JobItem.OUTCOME_FAILED: Outcome.FAILED,
}
_VALUES = {outcome: value for value, outcome in _OUTCOMES.items()}


def from_outcomes(
    outcomes: Sequence[job_pb2.JobItem.Outcome.ValueType],
) -> Sequence[Outcome | None]:
    """Return the outcomes a listing asks for; None for items that have none yet."""
    return [_OUTCOMES[each] for each in outcomes]


def to_item(item: ListedItem) -> job_pb2.JobItem:
    """Return one item and what became of it."""
    return job_pb2.JobItem(
        item=item.key,
        source_uri=item.source_uri,
        asset=item.asset,
        media_type=item.media_type,
        outcome=_VALUES[item.outcome],
        entities=item.written,
        line=line_of(item.place),
        attempts=item.attempts,
    )
