"""Rows of the job tables into the domain's objects, and back."""

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from lookalike_ingest.job import (
    Attributes,
    Counts,
    Item,
    ItemFailure,
    ItemProblem,
    Job,
    JobState,
    ListedItem,
    Outcome,
)
from lookalike_ingest.places import place_from_text
from lookalike_ingest.problem import Problem
from lookalike_ingest.segments import Segment
from lookalike_ingest.spec_codec import spec_from_text

# Any below: a row's columns are typed by the tables.
Row = sa.Row[Any]
_SEGMENT: TypeAdapter[Segment] = TypeAdapter(Segment)


def job_from_row(row: Row) -> Job:
    """Return the job of one row of `jobs`."""
    return Job(
        id=row.id,
        tenant=row.tenant,
        request_id=row.request_id,
        spec=spec_from_text(row.spec),
        generation=row.generation,
        created_at=from_micros(row.created_at),
        state=JobState(row.state),
        state_reason=row.state_reason,
        problem=Problem.from_text(row.problem) if row.problem else None,
        warnings=json.loads(row.warnings),
        counts=Counts(
            total=row.total,
            created=row.created,
            updated=row.updated,
            unchanged=row.unchanged,
            skipped=row.skipped,
            failed=row.failed,
        ),
        written=row.written,
        removed=row.removed,
        revision=row.revision,
        round=row.round,
        media_types=json.loads(row.media_types),
        stored_bytes=row.stored_bytes,
        found=row.found,
        listed=row.listed,
        unlisted=row.unlisted,
        retry_of=row.retry_of,
        expansion=row.expansion,
        started_at=from_micros(row.started_at) if row.started_at else None,
        ended_at=from_micros(row.ended_at) if row.ended_at else None,
    )


def item_from_row(row: Row) -> Item:
    """Return the item of one row of `items`."""
    return Item(
        ordinal=row.ordinal,
        key=row.key,
        source_uri=row.source_uri,
        place=place_from_text(row.place),
        size=row.size,
        attributes=json.loads(row.attributes) if row.attributes else {},
        attempts=row.attempts,
    )


def listed_from_row(row: Row) -> ListedItem:
    """Return what a listing shows of one row of `items`."""
    return ListedItem(
        ordinal=row.ordinal,
        key=row.key,
        source_uri=row.source_uri,
        place=place_from_text(row.place),
        outcome=Outcome(row.outcome) if row.outcome else None,
        asset=row.asset,
        media_type=row.media_type,
        written=row.written,
        attempts=row.attempts,
    )


def failure_from_row(row: Row) -> ItemFailure:
    """Return the failure of one row of `failures`."""
    return ItemFailure(
        sequence=row.sequence,
        item=row.item,
        source_uri=row.source_uri,
        problem=ItemProblem(
            row.step,
            Problem.from_text(row.problem),
            row.asset,
            row.line,
            _SEGMENT.validate_json(row.segment) if row.segment else None,
        ),
        attempts=row.attempts,
        failed_at=from_micros(row.failed_at),
    )


def segment_to_text(segment: Segment | None) -> str | None:
    """Write a part of an item as JSON; None for none."""
    return _SEGMENT.dump_json(segment).decode() if segment else None


def attributes_to_text(attributes: Attributes) -> str | None:
    """Write attributes as JSON; None for none."""
    return json.dumps(dict(attributes), separators=(",", ":")) if attributes else None


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)


def from_micros(micros: int) -> datetime:
    """Return the moment so many microseconds after 1970."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
