"""What durability costs: an item's share of claiming, recording and the engine's steps.

The service runs in this process with a pipeline that does nothing but say "created", so all of
the time between the end of listing and the end of the job is the engine's and the job store's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from pydantic import ByteSize

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import ingest_service_pb2_grpc, job_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import loopback, running
from lookalike_ingest.app import build
from lookalike_ingest.batches.batch_report import BatchReport
from lookalike_ingest.batches.pipeline import Pipeline
from lookalike_ingest.job import Item, ItemResult, Outcome
from lookalike_ingest.settings import (
    AssetSettings,
    IngestServerSettings,
    IngestSettings,
    JobSettings,
)
from tests.bench.ingest_suite import tell
from tests.support.ingest_peers import COLLECTION, Peers, running_encoder, running_search

Figures = dict[str, Any]
_BATCH: Final = 64
_TARGET_MS: Final = 0.2


async def measure(items: int) -> Figures:
    """Run a job over so many empty files in batches of 64."""

    async def nothing(
        _self: object, _job: object, _to: object, items: Sequence[Item], _: object
    ) -> BatchReport:
        return BatchReport([ItemResult(each.ordinal, Outcome.CREATED) for each in items])

    with (
        tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder,
        patch.object(Pipeline, "run", nothing),
    ):
        root = Path(folder) / "files"
        root.mkdir()
        for number in range(items):
            (root / f"{number}.png").touch()
        peers = Peers()
        async with running_encoder(peers) as encoder, running_search(peers) as search:
            settings = IngestSettings(
                server=IngestServerSettings(port=0, metrics_port=None),
                data_dir=Path(folder) / "data",
                roots=(root,),
                encoder=loopback(encoder.port),
                search=loopback(search.port),
                jobs=JobSettings(batch_items=_BATCH),
                assets=AssetSettings(min_free_bytes=ByteSize(0)),
            )
            async with (
                running(build(settings)) as server,
                open_channel(loopback(server.port)) as channel,
            ):
                figures = await _run(ingest_service_pb2_grpc.IngestServiceStub(channel), root)
    tell(f"engine: {figures}")
    return figures


async def _run(stub: ingest_service_pb2_grpc.IngestServiceAsyncStub, root: Path) -> Figures:
    files = job_pb2.FilesSource(uris=[f"{root.as_uri()}/"])
    began = time.perf_counter()
    job = await stub.CreateJob(
        pb.CreateJobRequest(job=job_pb2.Job(collection=COLLECTION, files=files))
    )
    listed = 0.0
    cpu = 0.0
    async for reply in stub.WatchJob(pb.WatchJobRequest(name=job.name)):
        job = reply.job
        if job.counts.HasField("total") and not listed:
            listed, cpu = time.perf_counter(), time.process_time()
    ended = time.perf_counter()
    total = job.counts.total
    if job.counts.created != total:
        raise RuntimeError(f"the job ended otherwise: {job}")
    return {
        "overhead_ms_per_item": round((ended - listed) / total * 1000, 3),
        "overhead_cpu_ms_per_item": round((time.process_time() - cpu) / total * 1000, 3),
        "listing_ms_per_item": round((listed - began) / total * 1000, 3),
        "target_overhead_ms": _TARGET_MS,
    }
