"""What a caller asks for, into the domain's objects; pure."""

from collections.abc import Sequence

from lookalike.ingest.v1 import ingest_service_pb2, job_pb2
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError, UnimplementedError
from lookalike_ingest.columns import parse_columns
from lookalike_ingest.convert.splitters import from_splitter
from lookalike_ingest.convert.values import from_struct
from lookalike_ingest.job import CollectionSource, FilesSource, JobOptions, JobState, TableSource
from lookalike_ingest.job_store import JobFilter
from lookalike_ingest.jobs import GivenBytes, JobRequest, RequestedItem, RequestedSource
from lookalike_ingest.places import AssetPlace

_ASSETS = "assets/"


def from_job(job: job_pb2.Job) -> JobRequest:
    """Return what a CreateJob request asks for.

    Raises UnimplementedError naming the field that this release cannot serve yet.
    """
    return JobRequest(
        collection=job.collection,
        source=_from_source(job),
        options=_from_options(job),
        splitter=from_splitter(job.splitter, "job.splitter"),
        attributes=from_struct(job.attributes, "job.attributes"),
        labels=dict(job.labels),
        request_id=job.request_id,
    )


def from_filter(request: ingest_service_pb2.ListJobsRequest) -> JobFilter:
    """Return which jobs a listing asks for."""
    if job_pb2.Job.STATE_UNSPECIFIED in request.states:
        raise InvalidArgumentError("name states, or leave the list empty", field="states")
    names = [job_pb2.Job.State.Name(each) for each in request.states]
    return JobFilter(
        states=[JobState(name.removeprefix("STATE_")) for name in names],
        collection=request.collection,
        labels=[_from_label(each) for each in request.labels],
    )


def _from_options(job: job_pb2.Job) -> JobOptions:
    options = job.options
    watches = options.HasField("watch_interval")
    if job.WhichOneof("source") == "items" and (options.sync or watches):
        name = "sync" if options.sync else "watch_interval"
        raise InvalidArgumentError("given items never change", field=f"job.options.{name}")
    if watches and options.dry_run:
        raise InvalidArgumentError("a dry run looks once", field="job.options.watch_interval")
    return JobOptions(
        stop_on_error=options.on_error == job_pb2.Options.ON_ERROR_STOP,
        dry_run=options.dry_run,
        discard_assets=options.discard_assets,
        sync=options.sync,
        max_items_per_second=options.max_items_per_second,
        keep_location=options.keep_location,
        watch_interval=options.watch_interval.ToTimedelta() if watches else None,
    )


def _from_source(
    job: job_pb2.Job,
) -> RequestedSource:
    match job.WhichOneof("source"):
        case "items":
            return _from_items(job.items)
        case "table":
            return _from_table(job.table)
        case "from_collection":
            return _from_collection(job)
        case _:
            return _from_files(job)


def _from_collection(job: job_pb2.Job) -> CollectionSource:
    source = job.from_collection
    if source.collection == job.collection:
        raise InvalidArgumentError(
            "a collection cannot be read into itself", field="job.from_collection.collection"
        )
    return CollectionSource(source.collection, source.filter)


def _from_table(table: job_pb2.TableSource) -> TableSource:
    columns = dict(table.columns)
    try:
        parse_columns(columns)
    except LookalikeError as error:
        raise error.at("job.table.columns") from error
    return TableSource(table.uri, columns)


def _from_files(job: job_pb2.Job) -> FilesSource:
    return FilesSource(list(job.files.uris), list(job.files.include), list(job.files.exclude))


def _from_items(source: job_pb2.ItemsSource) -> Sequence[RequestedItem]:
    return [_from_item(item, f"job.items.items[{n}]") for n, item in enumerate(source.items)]


def _from_item(item: job_pb2.SourceItem, field: str) -> RequestedItem:
    return RequestedItem(
        content=_from_content(item.content, f"{field}.content"),
        key=item.item,
        source_uri=item.source_uri,
        attributes=from_struct(item.attributes, f"{field}.attributes"),
    )


def _from_content(content: content_pb2.Content, field: str) -> GivenBytes | AssetPlace:
    match content.WhichOneof("data"):
        case "asset":
            return AssetPlace(content.asset.removeprefix(_ASSETS))
        case "image":
            return GivenBytes(content.image, "image")
        case "text":
            return GivenBytes(content.text.encode(), "text")
        case "audio":
            return GivenBytes(content.audio, "audio")
        case "smiles":
            return GivenBytes(content.smiles.encode(), "smiles")
        case "sequence":
            return GivenBytes(content.sequence.encode(), "sequence")
        case kind:
            raise UnimplementedError("this is not ingested yet", field=f"{field}.{kind}")


def _from_label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    return key, value if equals else None
