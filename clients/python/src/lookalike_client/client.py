"""The client: typed calls to the gRPC services, with errors as one exception tree.

Requests take what people have at hand (paths, ids, texts); replies are the published protobuf
messages, so that nothing a server says is hidden.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import grpc
from google.protobuf.json_format import ParseDict
from grpc_health.v1 import health_pb2

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike.type.v1 import server_info_service_pb2, server_info_service_pb2_grpc
from lookalike_client._calls import Caller, pages
from lookalike_client._channel import open_channel
from lookalike_client._collections import CollectionCalls
from lookalike_client._encoding import EncoderCalls
from lookalike_client._entities import Attributes, EntityCalls
from lookalike_client._names import collection_name, job_name
from lookalike_client._searches import SearchCalls
from lookalike_client._uploads import upload
from lookalike_client._watching import watch

Service = Literal["encoder", "search", "ingest"]


class Client(EncoderCalls, CollectionCalls, EntityCalls, SearchCalls):
    """Calls the services of one suite. Thread-safe; close it, or use it as a context manager.

    Addresses are `host:port` or any gRPC target, such as `dns:///search:50052`.
    """

    def __init__(
        self,
        *,
        encoder: str = "127.0.0.1:50051",
        search: str = "127.0.0.1:50052",
        ingest: str = "127.0.0.1:50053",
        token: str | None = None,
        ca_file: Path | None = None,
        timeout: timedelta = timedelta(seconds=30),
        health_checked: bool = True,
    ) -> None:
        """Connect lazily: nothing is sent before the first call.

        `timeout` is the deadline of each call that is not a stream. With `health_checked` false
        calls also go to a server that reports that it is not serving.
        """
        call = Caller(timeout=timeout, token=token)
        self._closing = ExitStack()
        addresses: dict[Service, str] = {"encoder": encoder, "search": search, "ingest": ingest}
        self._channels: dict[Service, grpc.Channel] = {
            service: self._closing.enter_context(
                open_channel(address, ca_file=ca_file, health_checked=health_checked)
            )
            for service, address in addresses.items()
        }
        EncoderCalls.__init__(self, call, self._channels["encoder"])
        CollectionCalls.__init__(self, call, self._channels["search"])
        EntityCalls.__init__(self, call, self._channels["search"])
        SearchCalls.__init__(self, call, self._channels["search"])
        self._jobs = ingest_service_pb2_grpc.IngestServiceStub(self._channels["ingest"])
        self._assets = asset_service_pb2_grpc.AssetServiceStub(self._channels["ingest"])

    def close(self) -> None:
        """Close the connections."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def server_info(self, service: Service) -> server_info_service_pb2.ServerInfo:
        """Version, features and limits of a server."""
        stub = server_info_service_pb2_grpc.ServerInfoServiceStub(self._channels[service])
        request = server_info_service_pb2.GetServerInfoRequest()
        return self._call.unary(stub.GetServerInfo, request)

    def is_serving(self, service: Service) -> bool:
        """Whether a server reports that it is serving as a whole."""
        check = self._channels[service].unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        reply = self._call.unary(check, health_pb2.HealthCheckRequest())
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    # Jobs

    def create_job(self, job: job_pb2.Job) -> job_pb2.Job:
        """Start a job; it runs on whatever becomes of this client."""
        request = ingest_service_pb2.CreateJobRequest(job=job)
        return self._call.unary(self._jobs.CreateJob, request)

    def ingest_files(
        self, collection: str, uris: Sequence[str], *, attributes: Attributes | None = None
    ) -> job_pb2.Job:
        """Start ingesting files and folders (`file:///photos/`) that the service can read."""
        job = job_pb2.Job(
            collection=collection_name(collection), files=job_pb2.FilesSource(uris=uris)
        )
        if attributes:
            ParseDict(dict(attributes), job.attributes)
        return self.create_job(job)

    def job(self, job: str) -> job_pb2.Job:
        """One job as it stands."""
        request = ingest_service_pb2.GetJobRequest(name=job_name(job))
        return self._call.unary(self._jobs.GetJob, request)

    def jobs(self, *, collection: str = "") -> Iterator[job_pb2.Job]:
        """All jobs, newest first; of one collection, if it is named."""
        of = collection_name(collection) if collection else ""

        def page(token: str) -> ingest_service_pb2.ListJobsResponse:
            request = ingest_service_pb2.ListJobsRequest(collection=of, page_token=token)
            return self._call.unary(self._jobs.ListJobs, request)

        for reply in pages(page):
            yield from reply.jobs

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

    # Assets

    def upload(self, original: bytes | Path) -> str:
        """Store a file's bytes, unless they are there already; returns `assets/{asset}`."""
        return upload(self._assets, self._call, original)
