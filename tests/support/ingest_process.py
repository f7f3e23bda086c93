"""The ingest service as a process of its own, between peers of the calling process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from lookalike.asset.v1 import asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import ingest_service_pb2_grpc, job_pb2
from lookalike_common.testing import assert_eventually, free_port
from tests.support.ingest_peers import Peers, running_encoder, running_search

_NOT_YET = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""How calls end while the service is gone, or still starting."""


class Victim:
    """The service as a process of its own."""

    def __init__(self, environment: dict[str, str], port: int) -> None:
        self._environment = environment
        self.port = port
        self._process: asyncio.subprocess.Process | None = None
        self.killed = False

    async def start(self) -> None:
        self.killed = False
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lookalike_ingest", env={**os.environ, **self._environment}
        )

    def signal_kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        if not self.killed and self._process.returncode is None:
            self.killed = True
            self._process.send_signal(signal.SIGKILL)

    async def kill(self) -> None:
        """End it, and wait until it is gone."""
        assert self._process is not None
        self.signal_kill()
        await self._process.wait()

    async def stop(self) -> int:
        """End it as an operator would; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def dead(self) -> bool:
        return self._process is None or self._process.returncode is not None


@asynccontextmanager
async def victim(peers: Peers, root: Path, data: Path) -> AsyncIterator[Victim]:
    """Run the service between its peers."""
    port = free_port()
    async with running_encoder(peers) as encoder, running_search(peers) as search:
        environment = {
            "LOOKALIKE_INGEST__SERVER__PORT": str(port),
            "LOOKALIKE_INGEST__SERVER__METRICS_PORT": "0",
            "LOOKALIKE_INGEST__SERVER__DRAIN_DELAY": "0",
            "LOOKALIKE_INGEST__DATA_DIR": str(data),
            "LOOKALIKE_INGEST__ROOTS": json.dumps([str(root)]),
            "LOOKALIKE_INGEST__ENCODER__ADDRESS": f"127.0.0.1:{encoder.port}",
            "LOOKALIKE_INGEST__SEARCH__ADDRESS": f"127.0.0.1:{search.port}",
            "LOOKALIKE_INGEST__JOBS__BATCH_ITEMS": "16",
            "LOOKALIKE_INGEST__TELEMETRY__LOG_LEVEL": "WARNING",
            "LOOKALIKE_INGEST__TELEMETRY__LOG_FORMAT": "text",
        }
        started = Victim(environment, port)
        await started.start()
        try:
            yield started
        finally:
            if not started.dead:
                await started.kill()


class Caller:
    """A client that repeats its calls until the service is back."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.jobs: ingest_service_pb2_grpc.IngestServiceAsyncStub = (
            ingest_service_pb2_grpc.IngestServiceStub(channel)
        )
        self.assets: asset_service_pb2_grpc.AssetServiceAsyncStub = (
            asset_service_pb2_grpc.AssetServiceStub(channel)
        )

    async def create(self, job: job_pb2.Job) -> job_pb2.Job:
        request = pb.CreateJobRequest(job=job)
        return await self._insist(lambda: self.jobs.CreateJob(request, wait_for_ready=True))

    async def get(self, name: str) -> job_pb2.Job:
        request = pb.GetJobRequest(name=name)
        return await self._insist(lambda: self.jobs.GetJob(request, wait_for_ready=True))

    async def list_jobs(self) -> pb.ListJobsResponse:
        """List jobs, as soon as the service is there."""
        return await self.jobs.ListJobs(pb.ListJobsRequest(), wait_for_ready=True)

    @staticmethod
    async def _insist(call: Callable[[], Awaitable[job_pb2.Job]]) -> job_pb2.Job:
        """Repeat a call that the service did not survive."""
        reply = job_pb2.Job()

        async def answered() -> bool:
            try:
                reply.CopyFrom(await call())
            except grpc.aio.AioRpcError as error:
                if error.code() not in _NOT_YET:
                    raise
                return False
            return True

        await assert_eventually(answered, 90)
        return reply

    async def get_or_none(self, name: str) -> job_pb2.Job | None:
        try:
            return await self.jobs.GetJob(pb.GetJobRequest(name=name), timeout=1)
        except grpc.aio.AioRpcError:
            return None
