"""Messages of the API into the domain's objects, and back; pure."""

from collections.abc import Callable, Sequence
from datetime import datetime

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from lookalike.asset.v1 import asset_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError, UnimplementedError
from lookalike_ingest.asset_store import Asset, Upload
from lookalike_ingest.job import (
    Attributes,
    FilesSource,
    ItemFailure,
    ItemsSource,
    Job,
    JobOptions,
    JobState,
)
from lookalike_ingest.jobs import GivenBytes, JobRequest, RequestedItem
from lookalike_ingest.media_types import Modality
from lookalike_ingest.places import AssetPlace
from lookalike_ingest.progress import Progress

ToStatus = Callable[[LookalikeError, str], status_pb2.Status]
"""Makes a status of an error and the request id to report."""

RESERVED_ATTRIBUTES = frozenset(
    {"item", "asset", "text", "source_uri", "create_time", "update_time"}
)
_ASSETS = "assets/"
_MODALITIES = {
    Modality.TEXT: content_pb2.MODALITY_TEXT,
    Modality.IMAGE: content_pb2.MODALITY_IMAGE,
    Modality.AUDIO: content_pb2.MODALITY_AUDIO,
    Modality.VIDEO: content_pb2.MODALITY_VIDEO,
    Modality.MOLECULE: content_pb2.MODALITY_MOLECULE,
    Modality.SEQUENCE: content_pb2.MODALITY_SEQUENCE,
}


def from_job(job: job_pb2.Job) -> JobRequest:
    """Return what a CreateJob request asks for.

    Raises UnimplementedError naming the field that this release cannot serve yet.
    """
    _refuse_unimplemented(job)
    source = _from_items(job.items) if job.WhichOneof("source") == "items" else _from_files(job)
    return JobRequest(
        collection=job.collection,
        source=source,
        options=JobOptions(
            stop_on_error=job.options.on_error == job_pb2.Options.ON_ERROR_STOP,
            dry_run=job.options.dry_run,
            discard_assets=job.options.discard_assets,
        ),
        attributes=_from_struct(job.attributes, "job.attributes"),
        labels=dict(job.labels),
        request_id=job.request_id,
    )


def from_states(states: Sequence[job_pb2.Job.State.ValueType]) -> Sequence[JobState]:
    """Return the states a listing asks for."""
    if job_pb2.Job.STATE_UNSPECIFIED in states:
        raise InvalidArgumentError("name states, or leave the list empty", field="states")
    return [JobState(job_pb2.Job.State.Name(each).removeprefix("STATE_")) for each in states]


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
        create_time=_to_timestamp(job.created_at),
    )
    _set_source(message, job, brief=brief)
    if job.spec.attributes:
        message.attributes.CopyFrom(_to_struct(job.spec.attributes))
    if job.problem is not None:
        message.error.CopyFrom(to_status(job.problem.to_error(), job.id))
    if job.started_at is not None:
        message.start_time.FromDatetime(job.started_at)
    if job.ended_at is not None:
        message.end_time.FromDatetime(job.ended_at)
    return message


def to_failure(failure: ItemFailure, job_id: str, to_status: ToStatus) -> job_pb2.JobFailure:
    """Return one item that failed."""
    return job_pb2.JobFailure(
        item=failure.item,
        source_uri=failure.source_uri,
        asset=failure.problem.asset,
        step=failure.problem.step,
        error=to_status(failure.problem.problem.to_error(), job_id),
        attempts=failure.attempts,
        create_time=_to_timestamp(failure.failed_at),
    )


def to_asset(asset: Asset) -> asset_pb2.Asset:
    """Return what is known about an asset."""
    modality = asset.media_type.modality
    return asset_pb2.Asset(
        name=asset.name,
        media_type=asset.media_type.name,
        modality=_MODALITIES[modality] if modality else content_pb2.MODALITY_UNSPECIFIED,
        size_bytes=asset.size,
        sha256=asset.sha256,
        create_time=_to_timestamp(asset.created_at),
    )


def to_upload(upload: Upload) -> asset_pb2.Upload:
    """Return how an upload stands."""
    return asset_pb2.Upload(
        name=upload.name,
        size_bytes=upload.size,
        committed_bytes=upload.committed,
        expire_time=_to_timestamp(upload.expires_at),
        asset=f"{_ASSETS}{upload.sha256}" if upload.complete else "",
    )


def _refuse_unimplemented(job: job_pb2.Job) -> None:
    if job.WhichOneof("source") == "table":
        raise UnimplementedError("tables are not read yet", field="job.table")
    if job.WhichOneof("source") == "from_collection":
        raise UnimplementedError("collections are not read yet", field="job.from_collection")
    for option in ("sync", "watch_interval", "max_items_per_second", "keep_location"):
        if option in {each.name for each, _ in job.options.ListFields()}:
            raise UnimplementedError("this is not done yet", field=f"job.options.{option}")
    for kind, options in job.splitter.ListFields():
        for option, _ in options.ListFields():
            raise UnimplementedError(
                "items are only ingested whole yet",
                field=f"job.splitter.{kind.name}.{option.name}",
            )


def _from_files(job: job_pb2.Job) -> FilesSource:
    return FilesSource(list(job.files.uris), list(job.files.include), list(job.files.exclude))


def _from_items(source: job_pb2.ItemsSource) -> Sequence[RequestedItem]:
    return [_from_item(item, f"job.items.items[{n}]") for n, item in enumerate(source.items)]


def _from_item(item: job_pb2.SourceItem, field: str) -> RequestedItem:
    return RequestedItem(
        content=_from_content(item.content, f"{field}.content"),
        key=item.item,
        source_uri=item.source_uri,
        attributes=_from_struct(item.attributes, f"{field}.attributes"),
    )


def _from_content(content: content_pb2.Content, field: str) -> GivenBytes | AssetPlace:
    match content.WhichOneof("data"):
        case "asset":
            return AssetPlace(content.asset.removeprefix(_ASSETS))
        case "image":
            return GivenBytes(content.image, "image")
        case "text":
            return GivenBytes(content.text.encode(), "text")
        case "smiles":
            return GivenBytes(content.smiles.encode(), "smiles")
        case "sequence":
            return GivenBytes(content.sequence.encode(), "sequence")
        case kind:
            raise UnimplementedError("this is not ingested yet", field=f"{field}.{kind}")


def _from_struct(struct: Struct, field: str) -> Attributes:
    try:
        attributes: Attributes = MessageToDict(struct)
    except ValueError as error:  # NaN and infinity have no place in JSON
        raise InvalidArgumentError("numbers must be finite", field=field) from error
    for name in RESERVED_ATTRIBUTES & attributes.keys():
        raise InvalidArgumentError("this name is taken", field=f"{field}.{name}")
    return attributes


def _set_source(message: job_pb2.Job, job: Job, *, brief: bool) -> None:
    source = job.spec.source
    if isinstance(source, FilesSource):
        message.files.CopyFrom(
            job_pb2.FilesSource(uris=source.uris, include=source.include, exclude=source.exclude)
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
            message.attributes.CopyFrom(_to_struct(item.attributes))
        messages.append(message)
    return messages


def _to_options(options: JobOptions) -> job_pb2.Options:
    stop, go_on = job_pb2.Options.ON_ERROR_STOP, job_pb2.Options.ON_ERROR_CONTINUE
    return job_pb2.Options(
        on_error=stop if options.stop_on_error else go_on,
        dry_run=options.dry_run,
        discard_assets=options.discard_assets,
    )


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
        items_per_second=progress.items_per_second, bottleneck=progress.bottleneck
    )
    if progress.eta is not None:
        message.eta.FromTimedelta(progress.eta)
    return message


def _to_struct(attributes: Attributes) -> Struct:
    return ParseDict(dict(attributes), Struct())


def _to_timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
