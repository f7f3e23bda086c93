"""Calls about jobs, and about the originals that they read and keep."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
from google.protobuf.json_format import ParseDict

from lookalike.asset.v1 import asset_service_pb2, asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike_client._calls import Caller, pages
from lookalike_client._entities import Attributes
from lookalike_client._names import collection_name, job_name
from lookalike_client._uploads import upload
from lookalike_client._watching import watch

Source = job_pb2.FilesSource | job_pb2.TableSource | job_pb2.ItemsSource | job_pb2.CollectionSource
"""Where a job's items come from."""

_PAGE = 1000
"""Items in a reply: jobs may have a million."""


class JobCalls:
    """What a client can ask about jobs, which are named by id or full name."""

    def __init__(self, call: Caller, channel: grpc.Channel) -> None:
        self._call = call
        self._jobs = ingest_service_pb2_grpc.IngestServiceStub(channel)
        self._assets = asset_service_pb2_grpc.AssetServiceStub(channel)

    def create_job(self, job: job_pb2.Job) -> job_pb2.Job:
        """Start a job; it runs on whatever becomes of this client."""
        request = ingest_service_pb2.CreateJobRequest(job=job)
        return self._call.unary(self._jobs.CreateJob, request)

    def ingest(
        self,
        collection: str,
        source: Source,
        *,
        splitter: job_pb2.Splitter | None = None,
        options: job_pb2.Options | None = None,
        attributes: Attributes | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> job_pb2.Job:
        """Start ingesting what a source has; the same request id returns the same job.

        Attributes are those that every entity gets; labels are for the caller's own order.
        """
        order = job_pb2.Job(
            collection=collection_name(collection),
            splitter=splitter,
            options=options,
            labels=labels,
            request_id=request_id,
        )
        if attributes:
            ParseDict(dict(attributes), order.attributes)
        return self.create_job(with_source(order, source))

    def ingest_files(
        self, collection: str, uris: Sequence[str], *, attributes: Attributes | None = None
    ) -> job_pb2.Job:
        """Start ingesting files and folders (`file:///photos/`) that the service can read."""
        return self.ingest(collection, job_pb2.FilesSource(uris=uris), attributes=attributes)

    def job(self, job: str) -> job_pb2.Job:
        """One job as it stands."""
        request = ingest_service_pb2.GetJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.GetJob, request)

    def jobs(
        self,
        *,
        collection: str = "",
        states: Sequence[job_pb2.Job.State.ValueType] = (),
        labels: Sequence[str] = (),
    ) -> Iterator[job_pb2.Job]:
        """Jobs, newest first; of one collection, in some states, with labels, if these are named.

        A label is `name=value`, or `name` for any value.
        """
        of = collection_name(collection) if collection else ""

        def page(token: str) -> ingest_service_pb2.ListJobsResponse:
            request = ingest_service_pb2.ListJobsRequest(
                collection=of, states=states, labels=labels, page_token=token
            )
            return self._call.unary(self._jobs.ListJobs, request)

        for reply in pages(page):
            yield from reply.jobs

    def pause_job(self, job: str) -> job_pb2.Job:
        """Stop a job until it is resumed; what it has under way is finished first."""
        request = ingest_service_pb2.PauseJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.PauseJob, request)

    def resume_job(self, job: str) -> job_pb2.Job:
        """Let a paused job go on."""
        request = ingest_service_pb2.ResumeJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.ResumeJob, request)

    def retry_job(self, job: str) -> job_pb2.Job:
        """Start a new job with the items of a final one that failed or were not reached."""
        request = ingest_service_pb2.RetryJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.RetryJob, request)

    def cancel_job(self, job: str) -> job_pb2.Job:
        """Stop a job for good; what it wrote stays."""
        request = ingest_service_pb2.CancelJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.CancelJob, request)

    def watch_job(
        self, job: str, *, patience: timedelta = timedelta(minutes=2)
    ) -> Iterator[job_pb2.Job]:
        """The job whenever it has moved, until it is final; a broken stream is taken up again.

        Gives up with UnavailableError when the service stays away for longer than `patience`.
        """
        name = job_name(job)

        def replies(offset: int) -> Iterator[ingest_service_pb2.WatchJobResponse]:
            request = ingest_service_pb2.WatchJobRequest(name=name, offset=offset)
            return self._call.server_stream(self._jobs.WatchJob, request)

        return watch(replies, patience=patience)

    def job_failures(self, job: str) -> Iterator[job_pb2.JobFailure]:
        """The items of a job that failed, in the order of failing."""

        def page(token: str) -> ingest_service_pb2.ListJobFailuresResponse:
            name = job_name(job)
            request = ingest_service_pb2.ListJobFailuresRequest(name=name, page_token=token)
            return self._call.unary(self._jobs.ListJobFailures, request)

        for reply in pages(page):
            yield from reply.failures

    def job_items(
        self, job: str, *, outcomes: Sequence[job_pb2.JobItem.Outcome.ValueType] = ()
    ) -> Iterator[job_pb2.JobItem]:
        """The items of a job in the order of being found; with some outcomes, if these are named.

        OUTCOME_UNSPECIFIED names those that have none yet.
        """

        def page(token: str) -> ingest_service_pb2.ListJobItemsResponse:
            request = ingest_service_pb2.ListJobItemsRequest(
                name=job_name(job), outcomes=outcomes, page_size=_PAGE, page_token=token
            )
            return self._call.unary(self._jobs.ListJobItems, request)

        for reply in pages(page):
            yield from reply.items

    # Assets

    def upload(self, original: bytes | Path) -> str:
        """Store a file's bytes, unless they are there already; returns `assets/{asset}`."""
        return upload(self._assets, self._call, original)

    def read_asset(self, asset: str, *, max_bytes: int = 0) -> bytes:
        """The bytes of an asset, at most so many from its beginning; 0 means all."""
        request = asset_service_pb2.ReadAssetRequest(name=asset, read_limit=max_bytes)
        replies = self._call.server_stream(self._assets.ReadAsset, request)
        return b"".join(reply.data for reply in replies)


def with_source(order: job_pb2.Job, source: Source) -> job_pb2.Job:
    """The order of a job with its source."""
    job = job_pb2.Job()
    job.CopyFrom(order)
    match source:
        case job_pb2.FilesSource():
            job.files.CopyFrom(source)
        case job_pb2.TableSource():
            job.table.CopyFrom(source)
        case job_pb2.ItemsSource():
            job.items.CopyFrom(source)
        case job_pb2.CollectionSource():
            job.from_collection.CopyFrom(source)
    return job
