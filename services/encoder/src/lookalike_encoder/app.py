"""Puts the service together; the only place that constructs its parts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import CollectorRegistry

from lookalike.encoder.v1 import encoder_admin_service_pb2_grpc, encoder_service_pb2_grpc
from lookalike_common.server import GrpcServer, Service
from lookalike_encoder.adapters.inference_files import inference_files
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.memory import return_freed_memory
from lookalike_encoder.adapters.ort_session import OrtOptions
from lookalike_encoder.batching import Batcher, BatchMetrics, Capacity
from lookalike_encoder.cache import CacheMetrics, ResultCache
from lookalike_encoder.catalogue import discover
from lookalike_encoder.encoder import Encoder
from lookalike_encoder.hangup import hangups
from lookalike_encoder.inference_protocol import inference_service_pb2_grpc
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.lifecycle import Lifecycle
from lookalike_encoder.readiness import Readiness
from lookalike_encoder.registry import Registry, Slot, State
from lookalike_encoder.rpc.admin import ADMIN_SERVICE, EncoderAdminServicer
from lookalike_encoder.rpc.encoder import MAX_ITEMS, MAX_REGIONS, SERVICE, EncoderServicer
from lookalike_encoder.rpc.inference import INFERENCE_SERVICE, InferenceServicer
from lookalike_encoder.rpc.structure import MAX_CANDIDATES
from lookalike_encoder.session import Runtime
from lookalike_encoder.settings import DeviceSettings, EncoderSettings
from lookalike_encoder.shelf import Shelf

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
    store = ModelStore(settings.models_dir)
    metrics = CollectorRegistry()
    async with AsyncExitStack() as stack:
        count = settings.device.decode_threads or len(os.sched_getaffinity(0))
        threads = stack.enter_context(ThreadPoolExecutor(count, "decode"))
        runtime = open_runtime(settings.device, threads)
        find_all = functools.partial(discover, settings.manifest_dirs)
        precision = settings.device.precision
        shelf = Shelf(find_all, store, runtime, named=settings.encoders, precision=precision)
        registry = Registry(shelf.wanted())
        _list_unwanted(registry, shelf)

        def tell() -> None:
            readiness.update()

        make_batcher = _batcher_maker(settings, metrics)
        lifecycle = Lifecycle(registry, shelf, make_batcher, tell, return_freed_memory)
        server = _make_server(settings, registry, lifecycle, metrics)
        services = (SERVICE, INFERENCE_SERVICE)
        readiness = Readiness(
            registry, server.health, metrics, services=services, required=settings.encoders
        )
        await stack.enter_async_context(lifecycle)
        asked = stack.enter_context(hangups())
        loading = asyncio.create_task(_keep_loaded(lifecycle, readiness, asked))
        stack.push_async_callback(_cancel, loading)
        yield server


async def _keep_loaded(lifecycle: Lifecycle, readiness: Readiness, asked: asyncio.Event) -> None:
    """Load everything, then look for what changed whenever somebody asks."""
    await lifecycle.start()
    readiness.start()
    while await asked.wait():
        asked.clear()
        await lifecycle.refresh()


def _list_unwanted(registry: Registry, shelf: Shelf) -> None:
    """Show what is installed and not to be served; it can be loaded later."""
    for manifest in shelf.installed():
        if registry.get(manifest.versioned_name) is None:
            registry.add(Slot(manifest, State.UNLOADED))


def _batcher_maker(
    settings: EncoderSettings, registry: CollectorRegistry
) -> Callable[[Encoder], Batcher]:
    metrics = BatchMetrics(registry)
    queue, size = settings.queue, settings.cache.max_bytes
    capacity = Capacity(queue.max_items, queue.max_bytes, queue.max_delay, queue.max_time)
    cache = ResultCache(size, CacheMetrics(registry)) if size else None

    def make_batcher(encoder: Encoder) -> Batcher:
        budget = encoder.manifest.budget(encoder.device)
        return Batcher(encoder, budget, capacity, metrics, cache=cache)

    return make_batcher


def _make_server(
    settings: EncoderSettings,
    registry: Registry,
    lifecycle: Lifecycle,
    metrics: CollectorRegistry,
) -> GrpcServer:
    def is_ready() -> bool:
        return server.health.is_serving(SERVICE)

    depth = settings.queue.stream_depth
    server = GrpcServer(
        settings.server,
        server_name="encoder",
        services=[
            Service(
                SERVICE,
                encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server,
                EncoderServicer(registry, stream_depth=depth),
            ),
            Service(
                ADMIN_SERVICE,
                encoder_admin_service_pb2_grpc.add_EncoderAdminServiceServicer_to_server,
                EncoderAdminServicer(lifecycle),
            ),
            Service(
                INFERENCE_SERVICE,
                inference_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
                InferenceServicer(registry, stream_depth=depth, is_ready=is_ready),
            ),
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
        registry=metrics,
        descriptors=inference_files(),
    )
    return server


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
