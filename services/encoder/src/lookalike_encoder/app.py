"""Puts the service together; the only place that constructs its parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from lookalike.encoder.v1 import encoder_service_pb2_grpc
from lookalike_common.server import GrpcServer, Service
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions
from lookalike_encoder.batching import Batcher, BatchMetrics, Capacity
from lookalike_encoder.cache import CacheMetrics, ResultCache
from lookalike_encoder.catalogue import Catalogue, discover
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.registry import Registry, State
from lookalike_encoder.rpc.encoder import MAX_ITEMS, MAX_REGIONS, SERVICE, EncoderServicer
from lookalike_encoder.rpc.structure import MAX_CANDIDATES
from lookalike_encoder.session import Runtime
from lookalike_encoder.settings import DeviceSettings, EncoderSettings

_logger = logging.getLogger(__name__)
OpenRuntime = Callable[[DeviceSettings, Executor], Runtime]


def open_local_runtime(settings: DeviceSettings, threads: Executor) -> Runtime:
    """Run models in this process."""
    options = OrtOptions(
        device=settings.kind,
        require_gpu=settings.require_gpu,
        threads=settings.threads,
        spinning=settings.spinning,
        arena=settings.arena,
    )
    return LocalRuntime(options, threads)


@asynccontextmanager
async def build(
    settings: EncoderSettings, *, open_runtime: OpenRuntime = open_local_runtime
) -> AsyncIterator[GrpcServer]:
    """Yield the server, not yet started, while its encoders load.

    Health says SERVING when they are ready. Raises ManifestError or NotFoundError if the settings
    name what does not exist.
    """
    catalogue = discover(settings.manifest_dirs)
    store = ModelStore(settings.models_dir)
    registry = Registry(_choose(settings, catalogue, store))
    async with AsyncExitStack() as stack:
        count = settings.device.decode_threads or len(os.sched_getaffinity(0))
        threads = stack.enter_context(ThreadPoolExecutor(count, "decode"))
        loader = EncoderLoader(catalogue, store, open_runtime(settings.device, threads))
        server = _make_server(settings, registry)
        metrics = BatchMetrics(server.registry)
        queue, size = settings.queue, settings.cache.max_bytes
        capacity = Capacity(queue.max_items, queue.max_bytes, queue.max_delay, queue.max_time)
        cache = ResultCache(size, CacheMetrics(server.registry)) if size else None

        def make_batcher(encoder: Encoder) -> Batcher:
            budget = encoder.manifest.budget(encoder.device)
            return Batcher(encoder, budget, capacity, metrics, cache=cache)

        batchers = await stack.enter_async_context(AsyncExitStack())
        loading = asyncio.create_task(registry.load(loader.load, make_batcher, batchers))
        loading.add_done_callback(
            lambda task: None if task.cancelled() else _open_doors(settings, registry, server)
        )
        stack.push_async_callback(_cancel, loading)
        yield server


def _choose(settings: EncoderSettings, catalogue: Catalogue, store: ModelStore) -> list[Manifest]:
    """Return what to serve: what the settings name, or whatever is installed."""
    if settings.encoders:
        return [catalogue.find(name) for name in sorted(settings.encoders)]
    return [each for each in catalogue.manifests if store.is_present(each)]


def _make_server(settings: EncoderSettings, registry: Registry) -> GrpcServer:
    server = GrpcServer(
        settings.server,
        server_name="encoder",
        services=[
            Service(
                SERVICE,
                encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server,
                EncoderServicer(registry, stream_depth=settings.queue.stream_depth),
            )
        ],
        features=lambda: sorted(registry.devices()),
        limits={
            "max_batch_items": MAX_ITEMS,
            "max_regions": MAX_REGIONS,
            "max_candidates": MAX_CANDIDATES,
            "max_queue_items": settings.queue.max_items,
            "max_queue_bytes": settings.queue.max_bytes,
        },
        encoder_fingerprints=registry.fingerprints,
    )
    server.health.set_serving(SERVICE, False)
    server.health.set_serving("", False)
    return server


def _open_doors(settings: EncoderSettings, registry: Registry, server: GrpcServer) -> None:
    """Say SERVING once what was asked for is ready; otherwise say why not, and stay closed."""
    states = {slot.state for slot in registry.slots()}
    bare = not any(slot.manifest.files for slot in registry.slots())
    if bare and not settings.encoders:  # those that need no files are always there
        _logger.error(
            "no model is installed in %s; run `lookalike-encoder models install`",
            settings.models_dir,
        )
    elif State.READY not in states or (settings.encoders and states != {State.READY}):
        _logger.error("not serving: an encoder is refused, see above")
    else:
        server.health.set_serving(SERVICE, True)
        server.health.set_serving("", True)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
