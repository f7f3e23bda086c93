"""Jobs and their failures as messages of the API; pure."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from google.rpc import status_pb2

from lookalike.ingest.v1 import job_pb2
from lookalike_common.errors import LookalikeError
from lookalike_ingest.convert.segments import to_segment
from lookalike_ingest.convert.splitters import to_splitter
from lookalike_ingest.convert.values import to_struct, to_timestamp
from lookalike_ingest.job import (
    CollectionSource,
    FilesSource,
    ItemFailure,
    ItemsSource,
    Job,
    JobOptions,
    TableSource,
)
from lookalike_ingest.places import AssetPlace
from lookalike_ingest.progress import Progress

ToStatus = Callable[[LookalikeError, str], status_pb2.Status]
"""Makes a status of an error and the request id to report."""

_ASSETS = "assets/"


def to_job(job: Job, progress: Progress, to_status: ToStatus, *, brief: bool) -> job_pb2.Job:
    """Return a job; a brief one without the list of given items."""
    message = job_pb2.Job(
        name=job.name,
        collection=job.spec.collection,
        options=_to_options(job.spec.options),
        labels=dict(job.spec.labels),
        request_id=job.request_id,
        state=job_pb2.Job.State.Value(f"STATE_{job.state}"),
        state_reason=job.state_reason,
        counts=_to_counts(job),
        entities=job_pb2.EntityCounts(written=job.written, removed=job.removed),
        progress=_to_progress(progress),
        generation=job.generation,
        warnings=job.warnings,
        media_types=job.media_types,
        retry_of=f"jobs/{job.retry_of}" if job.retry_of else "",
        create_time=to_timestamp(job.created_at),
    )
    _set_source(message, job, brief=brief)
    _set_estimate(message, job, progress)
    message.splitter.CopyFrom(to_splitter(job.spec.splitter))
    if job.spec.attributes:
        message.attributes.CopyFrom(to_struct(job.spec.attributes))
    if job.problem is not None:
        message.error.CopyFrom(to_status(job.problem.to_error(), job.id))
    if job.started_at is not None:
        message.start_time.FromDatetime(job.started_at)
    if job.ended_at is not None:
        message.end_time.FromDatetime(job.ended_at)
    return message


def to_failure(failure: ItemFailure, job_id: str, to_status: ToStatus) -> job_pb2.JobFailure:
    """Return one item that failed."""
    message = job_pb2.JobFailure(
        item=failure.item,
        source_uri=failure.source_uri,
        asset=failure.problem.asset,
        line=failure.problem.line,
        step=failure.problem.step,
        error=to_status(failure.problem.problem.to_error(), job_id),
        attempts=failure.attempts,
        create_time=to_timestamp(failure.failed_at),
    )
    if failure.problem.segment is not None:
        message.segment.CopyFrom(to_segment(failure.problem.segment))
    return message


def _set_estimate(message: job_pb2.Job, job: Job, progress: Progress) -> None:
    """Project what was measured so far on all items."""
    total, done = job.counts.total, job.counts.done
    if not total or not done or job.started_at is None:
        return
    message.estimate.stored_bytes = round(job.stored_bytes / done * total)
    if job.ended_at is not None:
        message.estimate.time.FromTimedelta(job.ended_at - job.started_at)
    elif progress.items_per_second > 0:
        message.estimate.time.FromTimedelta(timedelta(seconds=total / progress.items_per_second))


def _set_source(message: job_pb2.Job, job: Job, *, brief: bool) -> None:
    source = job.spec.source
    if isinstance(source, FilesSource):
        message.files.CopyFrom(
            job_pb2.FilesSource(uris=source.uris, include=source.include, exclude=source.exclude)
        )
        return
    if isinstance(source, TableSource):
        message.table.CopyFrom(job_pb2.TableSource(uri=source.uri, columns=source.columns))
        return
    if isinstance(source, CollectionSource):
        message.from_collection.CopyFrom(
            job_pb2.CollectionSource(collection=source.collection, filter=source.filter)
        )
        return
    message.items.SetInParent()
    if not brief:
        message.items.items.extend(_to_items(source))


def _to_items(source: ItemsSource) -> Sequence[job_pb2.SourceItem]:
    """Return given items without their bytes."""
    messages = []
    for item in source.items:
        message = job_pb2.SourceItem(item=item.key, source_uri=item.source_uri)
        if isinstance(item.place, AssetPlace):
            message.content.asset = f"{_ASSETS}{item.place.sha256}"
        if item.attributes:
            message.attributes.CopyFrom(to_struct(item.attributes))
        messages.append(message)
    return messages


def _to_options(options: JobOptions) -> job_pb2.Options:
    stop, go_on = job_pb2.Options.ON_ERROR_STOP, job_pb2.Options.ON_ERROR_CONTINUE
    message = job_pb2.Options(
        on_error=stop if options.stop_on_error else go_on,
        dry_run=options.dry_run,
        discard_assets=options.discard_assets,
        sync=options.sync,
        max_items_per_second=options.max_items_per_second,
        keep_location=options.keep_location,
    )
    if options.watch_interval is not None:
        message.watch_interval.FromTimedelta(options.watch_interval)
    return message


def _to_counts(job: Job) -> job_pb2.ItemCounts:
    counts = job.counts
    return job_pb2.ItemCounts(
        total=counts.total,
        created=counts.created,
        updated=counts.updated,
        unchanged=counts.unchanged,
        skipped=counts.skipped,
        failed=counts.failed,
    )


def _to_progress(progress: Progress) -> job_pb2.Progress:
    message = job_pb2.Progress(
        items_per_second=progress.items_per_second,
        bottleneck=progress.bottleneck,
        step_load=progress.step_load,
    )
    if progress.eta is not None:
        message.eta.FromTimedelta(progress.eta)
    return message
