"""A suite of the smallest servers that speak the API, on one real gRPC server."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from typing_extensions import override

from lookalike.asset.v1 import asset_pb2, asset_service_pb2, asset_service_pb2_grpc
from lookalike.encoder.v1 import encoder_pb2, encoder_service_pb2, encoder_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
    entity_pb2,
    search_service_pb2,
    search_service_pb2_grpc,
)
from lookalike.type.v1 import (
    content_pb2,
    server_info_service_pb2,
    server_info_service_pb2_grpc,
)
from lookalike_client import Client
from lookalike_client.cli.app import main
from lookalike_client.cli.session import complaints, console

State = job_pb2.Job.State


def refuse(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    reason: str,
    message: str,
    field: str = "",
) -> None:
    """End the call as the services do: a rich status with reason, field and request id."""
    details = [
        error_details_pb2.ErrorInfo(reason=reason, domain="lookalike"),
        error_details_pb2.RequestInfo(request_id="req-1"),
    ]
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


@dataclass
class FakeSuite(
    collection_service_pb2_grpc.CollectionServiceServicer,
    search_service_pb2_grpc.SearchServiceServicer,
    encoder_service_pb2_grpc.EncoderServiceServicer,
    ingest_service_pb2_grpc.IngestServiceServicer,
    asset_service_pb2_grpc.AssetServiceServicer,
    server_info_service_pb2_grpc.ServerInfoServiceServicer,
):
    """All services in one, with what a test wants to see and to provoke."""

    port: int = 0
    made: dict[str, collection_pb2.Collection] = field(default_factory=dict)
    jobs: list[job_pb2.Job] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the latest search."""
    searched: list[str] = field(default_factory=list)
    """The vector fields of the latest search, as they were named."""
    uploads: dict[str, bytes] = field(default_factory=dict)
    received: int = 0
    """Bytes that came by UploadChunk."""
    break_uploads: int = 0
    """So many calls of UploadChunk break off after their first chunk."""
    break_watches: int = 0
    """So many calls of WatchJob break off after their first reply."""
    watched_from: list[int] = field(default_factory=list)
    roots_closed: bool = False
    one_field: bool = False
    """Collections can have but one vector field."""
    failures: list[job_pb2.JobFailure] = field(default_factory=list)
    items: list[job_pb2.JobItem] = field(default_factory=list)
    listed: ingest_service_pb2.ListJobsRequest = field(
        default_factory=ingest_service_pb2.ListJobsRequest
    )
    """The latest request for jobs."""

    # Collections and searches

    @override
    def CreateCollection(
        self, request: collection_service_pb2.CreateCollectionRequest, context: grpc.ServicerContext
    ) -> collection_pb2.Collection:
        name = f"collections/{request.collection_id}"
        if self.one_field and len(request.collection.vector_fields) > 1:
            code = grpc.StatusCode.FAILED_PRECONDITION
            refuse(context, code, "UNSUPPORTED_BY_BACKEND", "one vector field at most")
        has_index = request.collection.HasField("text_index")
        self.made[name] = collection_pb2.Collection(
            name=name,
            vector_fields=request.collection.vector_fields,
            attributes=request.collection.attributes,
            text_index=request.collection.text_index if has_index else None,
            state=collection_pb2.Collection.STATE_READY,
            backend="milvus-lite 3.2.2",
        )
        return self.made[name]

    @override
    def GetCollection(
        self, request: collection_service_pb2.GetCollectionRequest, context: grpc.ServicerContext
    ) -> collection_pb2.Collection:
        if request.name not in self.made:
            message = f"no such collection: {request.name}"
            refuse(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", message)
        return self.made[request.name]

    @override
    def ListCollections(
        self, request: collection_service_pb2.ListCollectionsRequest, context: grpc.ServicerContext
    ) -> collection_service_pb2.ListCollectionsResponse:
        names = sorted(self.made)
        place = int(request.page_token or 0)
        more = str(place + 1) if place + 1 < len(names) else ""
        return collection_service_pb2.ListCollectionsResponse(
            collections=[self.made[name] for name in names[place : place + 1]],
            next_page_token=more,
        )

    @override
    def Search(
        self, request: search_service_pb2.SearchRequest, context: grpc.ServicerContext
    ) -> search_service_pb2.SearchResponse:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        fields = self.made.get(request.collection, collection_pb2.Collection()).vector_fields
        for query in request.queries:
            if len(fields) > 1 and query.HasField("content") and not query.vector_field:
                message, at = "is needed where there are several", "queries[0].vector_field"
                refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", message, at)
        self.searched = [query.vector_field for query in request.queries]
        if request.top_k == 1000:
            message = "top_k is too large"
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED", message, "top_k")
        if request.queries[0].min_score > 0.9:
            return search_service_pb2.SearchResponse(abstained=True, best_score=0.5)
        item = "[/b]\x1b[31m:cat:.png" if "odd-names" in request.collection else "cats/tom.png"
        hit = search_service_pb2.Hit(
            entity=entity_pb2.Entity(name=f"{request.collection}/entities/e1", item=item),
            score=0.75,
            distance=0.25,
            rank=1,
        )
        return search_service_pb2.SearchResponse(hits=[hit])

    # Encoders and servers

    @override
    def ListEncoders(
        self, request: encoder_service_pb2.ListEncodersRequest, context: grpc.ServicerContext
    ) -> encoder_service_pb2.ListEncodersResponse:
        encoder = encoder_pb2.Encoder(
            name="encoders/efficientnet-lite0@1",
            state=encoder_pb2.Encoder.STATE_READY,
            dimensions=1280,
            device="cpu",
            fingerprint="ab" * 32,
        )
        return encoder_service_pb2.ListEncodersResponse(encoders=[encoder])

    @override
    def GetEncoder(
        self, request: encoder_service_pb2.GetEncoderRequest, context: grpc.ServicerContext
    ) -> encoder_pb2.Encoder:
        text, image = content_pb2.MODALITY_TEXT, content_pb2.MODALITY_IMAGE
        modalities = {"minilm-l6-v2": [text], "conse": [text, image]}
        known = modalities.get(request.name.removeprefix("encoders/"), [image])
        return encoder_pb2.Encoder(name=request.name, modalities=known)

    @override
    def GetServerInfo(
        self, request: server_info_service_pb2.GetServerInfoRequest, context: grpc.ServicerContext
    ) -> server_info_service_pb2.ServerInfo:
        return server_info_service_pb2.ServerInfo(
            name="servers/search",
            version="0.0.1",
            backend="milvus-lite 3.2.2",
            limits={"max_message_bytes": 64 << 20},
        )

    # Jobs

    @override
    def CreateJob(
        self, request: ingest_service_pb2.CreateJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        job = request.job
        if self.roots_closed and job.files.uris and job.files.uris[0].startswith("file:"):
            message = "not under a configured root"
            refuse(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                "LOCATION_NOT_ALLOWED",
                message,
                "job.files.uris[0]",
            )
        job.name = f"jobs/j{len(self.jobs)}"
        job.state = State.STATE_PENDING
        self.jobs.append(job)
        return job

    @override
    def GetJob(
        self, request: ingest_service_pb2.GetJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        return self._job(request.name)

    @override
    def WatchJob(
        self, request: ingest_service_pb2.WatchJobRequest, context: grpc.ServicerContext
    ) -> Iterator[ingest_service_pb2.WatchJobResponse]:
        self.watched_from.append(request.offset)
        job = self._job(request.name)
        job.counts.total = 4
        for offset in range(request.offset + 1, 5):
            job.state = State.STATE_RUNNING
            job.counts.created = offset - len(self.failures)
            job.counts.failed = len(self.failures)
            if offset == 4:
                done = State.STATE_SUCCEEDED
                job.state = State.STATE_SUCCEEDED_WITH_FAILURES if self.failures else done
                job.create_time.FromSeconds(1000)
                job.end_time.FromSeconds(1001)
            yield ingest_service_pb2.WatchJobResponse(offset=offset, job=job)
            if self.break_watches:
                self.break_watches -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")

    @override
    def ListJobFailures(
        self, request: ingest_service_pb2.ListJobFailuresRequest, context: grpc.ServicerContext
    ) -> ingest_service_pb2.ListJobFailuresResponse:
        return ingest_service_pb2.ListJobFailuresResponse(failures=self.failures)

    @override
    def ListJobItems(
        self, request: ingest_service_pb2.ListJobItemsRequest, context: grpc.ServicerContext
    ) -> ingest_service_pb2.ListJobItemsResponse:
        asked = set(request.outcomes)
        items = [each for each in self.items if not asked or each.outcome in asked]
        place = int(request.page_token or 0)
        more = str(place + 1) if place + 1 < len(items) else ""
        return ingest_service_pb2.ListJobItemsResponse(
            items=items[place : place + 1], next_page_token=more
        )

    @override
    def ListJobs(
        self, request: ingest_service_pb2.ListJobsRequest, context: grpc.ServicerContext
    ) -> ingest_service_pb2.ListJobsResponse:
        self.listed.CopyFrom(request)
        return ingest_service_pb2.ListJobsResponse(jobs=self.jobs)

    @override
    def PauseJob(
        self, request: ingest_service_pb2.PauseJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        return self._moved(request.name, State.STATE_PAUSED)

    @override
    def ResumeJob(
        self, request: ingest_service_pb2.ResumeJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        return self._moved(request.name, State.STATE_RUNNING)

    @override
    def CancelJob(
        self, request: ingest_service_pb2.CancelJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        return self._moved(request.name, State.STATE_CANCELLED)

    @override
    def RetryJob(
        self, request: ingest_service_pb2.RetryJobRequest, context: grpc.ServicerContext
    ) -> job_pb2.Job:
        job = job_pb2.Job(name=f"jobs/j{len(self.jobs)}", retry_of=request.name)
        self.jobs.append(job)
        return job

    def _moved(self, name: str, state: "State.ValueType") -> job_pb2.Job:
        job = self._job(name)
        job.state = state
        return job

    def _job(self, name: str) -> job_pb2.Job:
        return next(job for job in self.jobs if job.name == name)

    # Assets

    @override
    def StartUpload(
        self, request: asset_service_pb2.StartUploadRequest, context: grpc.ServicerContext
    ) -> asset_pb2.Upload:
        upload = asset_pb2.Upload(name=f"uploads/{request.sha256}", size_bytes=request.size_bytes)
        kept = self.uploads.setdefault(request.sha256, b"")
        return self._state(upload, kept)

    @override
    def UploadChunk(
        self,
        request_iterator: Iterator[asset_service_pb2.UploadChunkRequest],
        context: grpc.ServicerContext,
    ) -> asset_pb2.Upload:
        upload = asset_pb2.Upload()
        for chunk in request_iterator:
            upload.name = chunk.upload
            sha256 = upload.name.removeprefix("uploads/")
            if chunk.write_offset != len(self.uploads[sha256]):
                message = "the upload stands at another offset"
                code = grpc.StatusCode.FAILED_PRECONDITION
                refuse(context, code, "OFFSET_MISMATCH", message, "write_offset")
            self.uploads[sha256] += chunk.data
            self.received += len(chunk.data)
            if self.break_uploads:
                self.break_uploads -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return self._state(upload, self.uploads[upload.name.removeprefix("uploads/")])

    @override
    def GetUpload(
        self, request: asset_service_pb2.GetUploadRequest, context: grpc.ServicerContext
    ) -> asset_pb2.Upload:
        upload = asset_pb2.Upload(name=request.name)
        return self._state(upload, self.uploads[request.name.removeprefix("uploads/")])

    @override
    def ReadAsset(
        self, request: asset_service_pb2.ReadAssetRequest, context: grpc.ServicerContext
    ) -> Iterator[asset_service_pb2.ReadAssetResponse]:
        data = self.uploads.get(request.name.removeprefix("assets/"))
        if data is None:
            refuse(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "no such asset")
        else:
            yield asset_service_pb2.ReadAssetResponse(data=data[: request.read_limit or None])

    def _state(self, upload: asset_pb2.Upload, kept: bytes) -> asset_pb2.Upload:
        upload.committed_bytes = len(kept)
        sha256 = upload.name.removeprefix("uploads/")
        if hashlib.sha256(kept).hexdigest() == sha256:
            upload.asset = f"assets/{sha256}"
        return upload


@pytest.fixture
def suite() -> Iterator[FakeSuite]:
    fake = FakeSuite()  # type: ignore[abstract] # - it lacks what no test calls
    server = grpc.server(ThreadPoolExecutor(4))
    collection_service_pb2_grpc.add_CollectionServiceServicer_to_server(fake, server)
    search_service_pb2_grpc.add_SearchServiceServicer_to_server(fake, server)
    encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server(fake, server)
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(fake, server)
    asset_service_pb2_grpc.add_AssetServiceServicer_to_server(fake, server)
    server_info_service_pb2_grpc.add_ServerInfoServiceServicer_to_server(fake, server)
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    fake.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield fake
    servicer.enter_graceful_shutdown()
    server.stop(0).wait()


@pytest.fixture
def client(suite: FakeSuite) -> Iterator[Client]:
    address = f"127.0.0.1:{suite.port}"
    with Client(encoder=address, search=address, ingest=address) as connected:
        yield connected


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    output: str
    complaints: str


@pytest.fixture
def lookalike(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs the command on the fake suite."""
    address = f"127.0.0.1:{suite.port}"
    for service in ("ENCODER", "SEARCH", "INGEST"):
        monkeypatch.setenv(f"LOOKALIKE_{service}_ADDRESS", address)
    for each in (console, complaints):  # a width of the environment counts at import only
        monkeypatch.setattr(each, "width", 200)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["lookalike", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        else:
            code = 0
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run
