"""Two tenants on one service: nothing of the one is seen by the other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import grpc.aio
import pytest
import yaml

from lookalike.asset.v1 import asset_service_pb2, asset_service_pb2_grpc
from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import ingest_service_pb2_grpc, job_pb2
from lookalike_common.channels import open_channel
from lookalike_common.settings import AuthSettings, TargetSettings
from lookalike_common.testing import running
from lookalike_ingest.app import build
from lookalike_ingest.settings import IngestSettings
from tests.integration.ingest.conftest import FAST, SERVER, caught
from tests.support.ingest_peers import COLLECTION, Peers, running_encoder, running_search
from tests.support.pictures import png

TENANTS = ("ants", "bees")


@pytest.fixture
def tokens(tmp_path: Path) -> AuthSettings:
    entries = [
        {"token": f"token-of-{tenant}-long", "tenant": tenant, "scopes": ["write"]}
        for tenant in TENANTS
    ]
    entries.append({"token": "token-of-the-service", "scopes": ["service", "write"]})
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump(entries))
    (tmp_path / "service").write_text("token-of-the-service")
    for tenant in TENANTS:
        (tmp_path / tenant).write_text(f"token-of-{tenant}-long")
    return AuthSettings(tokens_file=tmp_path / "tokens.yaml")


async def test_tenants_are_kept_apart(
    peers: Peers, root: Path, tmp_path: Path, tokens: AuthSettings
) -> None:
    def target(port: int, who: str) -> TargetSettings:
        return TargetSettings(address=f"127.0.0.1:{port}", token_file=tmp_path / who)

    async with (
        running_encoder(peers, auth=tokens) as encoder,
        running_search(peers, auth=tokens) as search,
        running(
            build(
                IngestSettings(
                    server=SERVER.model_copy(update={"auth": tokens}),
                    data_dir=tmp_path / "data",
                    roots=(root,),
                    encoder=target(encoder.port, "service"),
                    search=target(search.port, "service"),
                    jobs=FAST,
                )
            )
        ) as server,
        open_channel(target(server.port, "ants")) as ants,
        open_channel(target(server.port, "bees")) as bees,
    ):
        done = {
            "ants": await ingest(ants, png(1)),
            "bees": await ingest(bees, png(2)),
        }
        assert done["ants"].name != done["bees"].name
        assert {name: dict(peers.items(name)) for name in TENANTS} == {
            "ants": {"same": 1},
            "bees": {"same": 1},
        }
        for own, other in ((ants, "bees"), (bees, "ants")):
            jobs: ingest_service_pb2_grpc.IngestServiceAsyncStub = (
                ingest_service_pb2_grpc.IngestServiceStub(own)
            )
            listed = (await jobs.ListJobs(pb.ListJobsRequest())).jobs
            assert len(listed) == 1
            with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
                await jobs.GetJob(pb.GetJobRequest(name=done[other].name))
            with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
                await jobs.CancelJob(pb.CancelJobRequest(name=done[other].name))
        assert await reads(ants, png(1))
        assert await reads(bees, png(2))
        with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await reads(ants, png(2))
        with caught(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await reads(bees, png(1))


async def ingest(channel: grpc.aio.Channel, data: bytes) -> job_pb2.Job:
    """Ingest one photo under the same key and request id as everybody else."""
    jobs: ingest_service_pb2_grpc.IngestServiceAsyncStub = (
        ingest_service_pb2_grpc.IngestServiceStub(channel)
    )
    job = job_pb2.Job(collection=COLLECTION, request_id="same")
    job.items.items.add(item="same").content.image = data
    created = await jobs.CreateJob(pb.CreateJobRequest(job=job))
    async for reply in jobs.WatchJob(pb.WatchJobRequest(name=created.name)):
        created = reply.job
    assert created.counts.created == 1, created
    return created


async def reads(channel: grpc.aio.Channel, data: bytes) -> bool:
    assets: asset_service_pb2_grpc.AssetServiceAsyncStub = asset_service_pb2_grpc.AssetServiceStub(
        channel
    )
    name = f"assets/{hashlib.sha256(data).hexdigest()}"
    replies = assets.ReadAsset(asset_service_pb2.ReadAssetRequest(name=name))
    return b"".join([reply.data async for reply in replies]) == data
