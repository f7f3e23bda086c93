"""A running ingest service between two small real peers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from pydantic import ByteSize, SecretStr

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc, job_pb2
from lookalike_common.channels import open_channel
from lookalike_common.status import error_from_rpc
from lookalike_common.testing import loopback, running
from lookalike_ingest.app import build
from lookalike_ingest.settings import (
    AssetSettings,
    IngestServerSettings,
    IngestSettings,
    JobSettings,
)
from tests.support.ingest_database import prepare_engine
from tests.support.ingest_peers import COLLECTION, Peers, running_encoder, running_search

State = job_pb2.Job.State
FINAL = (
    job_pb2.Job.STATE_SUCCEEDED,
    job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES,
    job_pb2.Job.STATE_FAILED,
    job_pb2.Job.STATE_CANCELLED,
)
SERVER = IngestServerSettings(
    port=0, metrics_port=None, drain_delay=timedelta(0), drain_grace=timedelta(seconds=2)
)
FAST = JobSettings(
    retry_delay=timedelta(milliseconds=5), max_retry_delay=timedelta(milliseconds=50)
)


@contextmanager
def caught(code: grpc.StatusCode, reason: str, field: str = "") -> Iterator[None]:
    """Expect a call to end with a code, a reason, and a field in its details."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        yield
    error = error_from_rpc(raised.value)
    assert raised.value.code() is code, raised.value
    assert (error.reason, error.field) == (reason, field)


@dataclass
class Suite:
    """The running service, its peers, and a client."""

    peers: Peers
    root: Path
    settings: IngestSettings
    jobs: ingest_service_pb2_grpc.IngestServiceAsyncStub
    assets: asset_service_pb2_grpc.AssetServiceAsyncStub
    channel: grpc.aio.Channel

    async def create(self, job: job_pb2.Job) -> job_pb2.Job:
        """Create a job."""
        return await self.jobs.CreateJob(ingest_service_pb2.CreateJobRequest(job=job))

    async def create_files(self, *uris: str, **fields: Any) -> job_pb2.Job:
        """Create a job over files; without URIs, over the whole root."""
        source = job_pb2.FilesSource(uris=uris or [f"{self.root.as_uri()}/"])
        return await self.create(job_pb2.Job(collection=COLLECTION, files=source, **fields))

    async def finish(self, job: job_pb2.Job) -> job_pb2.Job:
        """Follow a job to its end; return how it ended."""
        last = job
        async for reply in self.jobs.WatchJob(ingest_service_pb2.WatchJobRequest(name=job.name)):
            last = reply.job
        assert last.state in FINAL
        return last

    async def run_files(self, *uris: str, **fields: Any) -> job_pb2.Job:
        """Create a job over files and follow it to its end."""
        return await self.finish(await self.create_files(*uris, **fields))

    async def get(self, job: job_pb2.Job) -> job_pb2.Job:
        """Get a job."""
        return await self.jobs.GetJob(ingest_service_pb2.GetJobRequest(name=job.name))

    async def cancel(self, job: job_pb2.Job) -> job_pb2.Job:
        """Cancel a job."""
        return await self.jobs.CancelJob(ingest_service_pb2.CancelJobRequest(name=job.name))

    async def pause(self, job: job_pb2.Job) -> job_pb2.Job:
        """Pause a job."""
        return await self.jobs.PauseJob(ingest_service_pb2.PauseJobRequest(name=job.name))

    async def resume(self, job: job_pb2.Job) -> job_pb2.Job:
        """Let a paused job go on."""
        return await self.jobs.ResumeJob(ingest_service_pb2.ResumeJobRequest(name=job.name))

    async def retry(self, job: job_pb2.Job) -> job_pb2.Job:
        """Retry a final job."""
        return await self.jobs.RetryJob(ingest_service_pb2.RetryJobRequest(name=job.name))

    async def items(
        self, job: job_pb2.Job, *outcomes: job_pb2.JobItem.Outcome.ValueType
    ) -> list[job_pb2.JobItem]:
        """List a job's items."""
        request = ingest_service_pb2.ListJobItemsRequest(
            name=job.name, outcomes=outcomes, page_size=1000
        )
        return list((await self.jobs.ListJobItems(request)).items)

    async def failures(self, job: job_pb2.Job) -> list[job_pb2.JobFailure]:
        """List a job's failures."""
        request = ingest_service_pb2.ListJobFailuresRequest(name=job.name)
        return list((await self.jobs.ListJobFailures(request)).failures)


@asynccontextmanager
async def running_ingest(settings: IngestSettings, peers: Peers) -> AsyncIterator[Suite]:
    """Run the service in this process, and give a client of it."""
    async with (
        running(build(settings)) as server,
        open_channel(loopback(server.port)) as channel,
    ):
        yield Suite(
            peers,
            settings.roots[0],
            settings,
            ingest_service_pb2_grpc.IngestServiceStub(channel),
            asset_service_pb2_grpc.AssetServiceStub(channel),
            channel,
        )


@pytest.fixture(scope="session")
def prepared_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the engine that knows its queues: finding new ones takes it a second."""
    file = tmp_path_factory.mktemp("engine") / "engine.sqlite"

    prepare_engine(f"sqlite:///{file}")
    return file


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
async def settings(
    peers: Peers,
    root: Path,
    tmp_path: Path,
    prepared_engine: Path,
    chosen_database: str | None,
) -> AsyncIterator[IngestSettings]:
    """Settings of a service whose peers run."""
    (tmp_path / "data").mkdir()
    shutil.copy(prepared_engine, tmp_path / "data")
    async with running_encoder(peers) as encoder, running_search(peers) as search:
        yield IngestSettings(
            server=SERVER,
            data_dir=tmp_path / "data",
            database_url=SecretStr(chosen_database) if chosen_database else None,
            roots=(root,),
            encoder=loopback(encoder.port),
            search=loopback(search.port),
            jobs=FAST,
            assets=AssetSettings(min_free_bytes=ByteSize(0)),
        )


@pytest.fixture
async def suite(settings: IngestSettings, peers: Peers) -> AsyncIterator[Suite]:
    async with running_ingest(settings, peers) as started:
        yield started
