"""Rows of the job tables into the domain's objects, and back."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from lookalike_ingest.job import (
    Attributes,
    Counts,
    FilesSource,
    GivenItem,
    Item,
    ItemFailure,
    ItemProblem,
    ItemsSource,
    Job,
    JobOptions,
    JobSpec,
    JobState,
)
from lookalike_ingest.places import place_from_text, place_to_text
from lookalike_ingest.problem import Problem

# Any below: a row's columns are typed by the tables, a spec's JSON was written by this module.
Row = sa.Row[Any]


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


def failure_from_row(row: Row) -> ItemFailure:
    """Return the failure of one row of `failures`."""
    return ItemFailure(
        sequence=row.sequence,
        item=row.item,
        source_uri=row.source_uri,
        problem=ItemProblem(row.step, Problem.from_text(row.problem), row.asset),
        attempts=row.attempts,
        failed_at=from_micros(row.failed_at),
    )


def spec_to_text(spec: JobSpec) -> str:
    """Write what was asked for as JSON."""
    source: Mapping[str, object]
    if isinstance(spec.source, FilesSource):
        source = {
            "uris": list(spec.source.uris),
            "include": list(spec.source.include),
            "exclude": list(spec.source.exclude),
        }
    else:
        source = {"items": [_given_to_list(each) for each in spec.source.items]}
    return json.dumps(
        {
            "collection": spec.collection,
            "source": source,
            "options": {
                "stop_on_error": spec.options.stop_on_error,
                "dry_run": spec.options.dry_run,
                "discard_assets": spec.options.discard_assets,
            },
            "attributes": dict(spec.attributes),
            "labels": dict(spec.labels),
        },
        separators=(",", ":"),
    )


@lru_cache(maxsize=32)
def spec_from_text(text: str) -> JobSpec:
    """Read what `spec_to_text` wrote; cached, as every change of a job reads its row again."""
    fields = json.loads(text)
    source = fields["source"]
    return JobSpec(
        collection=fields["collection"],
        source=(
            ItemsSource([_given_from_list(each) for each in source["items"]])
            if "items" in source
            else FilesSource(source["uris"], source["include"], source["exclude"])
        ),
        options=JobOptions(**fields["options"]),
        attributes=fields["attributes"],
        labels=fields["labels"],
    )


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


def _given_to_list(item: GivenItem) -> Sequence[object]:
    place = place_to_text(item.place)
    return [place, item.sha256, item.key, item.source_uri, dict(item.attributes)]


def _given_from_list(fields: Sequence[Any]) -> GivenItem:
    place, sha256, key, source_uri, attributes = fields
    return GivenItem(place_from_text(place), sha256, key, source_uri, attributes)
