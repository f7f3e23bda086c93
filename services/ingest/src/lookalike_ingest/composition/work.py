"""Who works on jobs: the decoder, the pipeline with its splitters, and the kinds of tasks."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from lookalike_ingest.adapters.dbos_engine import DbosEngine
from lookalike_ingest.adapters.decode_pool import DecodePool
from lookalike_ingest.adapters.markdown_plain import MarkdownPlain
from lookalike_ingest.adapters.postgres_presence import PostgresPresence
from lookalike_ingest.adapters.search_client import SearchClient
from lookalike_ingest.adapters.semantic_cutter import SemanticCutter
from lookalike_ingest.adapters.vector_packing import pack_vector
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.batches.parts import ChunkLimits
from lookalike_ingest.batches.pipeline import Pipeline
from lookalike_ingest.batches.preparation import Preparation
from lookalike_ingest.capacity import Capacity
from lookalike_ingest.composition.serving import run_beside
from lookalike_ingest.composition.tuning import (
    make_batch_limits,
    make_decode_limits,
    make_process_limits,
)
from lookalike_ingest.decoding import Decoder
from lookalike_ingest.encoding import Encoder
from lookalike_ingest.entities import EntityStore
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.media_types import Modality
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.settings import IngestSettings, Role
from lookalike_ingest.sources.collection_items import CollectionLister
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.sources.listing import Lister
from lookalike_ingest.splitters.audio import AudioSplitters
from lookalike_ingest.splitters.image import ImageSplitters
from lookalike_ingest.splitters.molecule import MoleculeSplitters
from lookalike_ingest.splitters.row import RowSplitters
from lookalike_ingest.splitters.sequence import SequenceSplitters
from lookalike_ingest.splitters.text import TextSplitters
from lookalike_ingest.splitters.video import VideoSplitters
from lookalike_ingest.spool import Spool
from lookalike_ingest.steps.compare import CompareStep
from lookalike_ingest.steps.decode import DecodeStep, SizeLimits
from lookalike_ingest.steps.encode import EncodeStep
from lookalike_ingest.steps.fetch import FetchStep
from lookalike_ingest.steps.read_row import ReadRowStep
from lookalike_ingest.steps.split import MakeSplitter
from lookalike_ingest.steps.unpack import UnpackStep
from lookalike_ingest.steps.write import WriteStep
from lookalike_ingest.tasks.engine import JobEngine, Work
from lookalike_ingest.tasks.expansion import EXPAND, Expansion
from lookalike_ingest.tasks.finish import Finish
from lookalike_ingest.tasks.job_scope import JobScope
from lookalike_ingest.tasks.shard import SHARD, ShardWorker
from lookalike_ingest.tasks.takeover import Takeover
from lookalike_media import ImageLimits

_EXPANSIONS_AT_ONCE = 2


def open_decoder(settings: IngestSettings, stack: AsyncExitStack) -> DecodePool:
    """Return the decoding processes, which end with the stack."""
    decoder = DecodePool(make_process_limits(settings), make_decode_limits(settings))
    stack.callback(decoder.close)
    return decoder


def make_pipeline(
    settings: IngestSettings,
    *,
    containers: Containers,
    read_row: ReadRowStep,
    decoder: Decoder,
    assets: AssetStore,
    spool: Spool,
    encoder: Encoder,
    entities: EntityStore,
    threads: ThreadPoolExecutor,
) -> Pipeline:
    """Wire the steps."""
    max_bytes = int(settings.media.max_file_bytes)
    splitters = make_splitters(settings, decoder)
    preparation = Preparation(
        FetchStep(containers, spool),
        UnpackStep(containers),
        read_row,
        DecodeStep(
            splitters,
            RowSplitters(splitters, pack_vector),
            SizeLimits(max_bytes, int(settings.media.max_stream_bytes)),
        ),
    )
    return Pipeline(
        preparation,
        CompareStep(entities),
        EncodeStep(encoder, max_request_bytes=int(settings.encoder.max_message_bytes) // 2),
        WriteStep(entities),
        encoder=encoder,
        assets=assets,
        entities=entities,
        threads=threads,
        chunks=ChunkLimits(settings.jobs.chunk_parts, int(settings.jobs.chunk_bytes)),
        split_at_once=max(1, settings.decoding.at_once // settings.jobs.shards_at_once),
    )


def make_splitters(settings: IngestSettings, decoder: Decoder) -> Mapping[Modality, MakeSplitter]:
    """Return who splits what; a modality that is missing here is skipped."""
    sounds = AudioSplitters(decoder, settings.media.silence)
    images = ImageLimits(int(settings.media.max_file_bytes), settings.media.max_pixels)
    return {
        Modality.AUDIO: sounds.make,
        Modality.IMAGE: ImageSplitters(decoder, images, max_parts=settings.media.max_tiles).make,
        Modality.TEXT: TextSplitters(
            decoder, SemanticCutter(), MarkdownPlain(), max_pages=settings.media.max_pages
        ).make,
        Modality.MOLECULE: MoleculeSplitters(decoder).make,
        Modality.SEQUENCE: SequenceSplitters.make,
        Modality.VIDEO: VideoSplitters(
            decoder,
            sounds,
            edge=settings.media.frame_edge,
            max_tiles=settings.media.max_tiles,
        ).make,
    }


def make_kinds(
    settings: IngestSettings,
    *,
    scope: JobScope,
    store: JobStore,
    lister: Lister,
    pipeline: Pipeline,
    entities: SearchClient,
    engine: JobEngine,
    threads: ThreadPoolExecutor,
    meter: ProgressMeter,
    board: ProgressBoard,
    metrics: JobMetrics,
) -> Mapping[str, Work]:
    """Return who does the tasks of which kind."""
    limits = settings.jobs
    finish = Finish(
        scope,
        store,
        entities,
        entities,
        visible_timeout=limits.visible_timeout,
        optimize_after=limits.optimize_after,
    )
    expansion = Expansion(
        scope,
        store,
        lister=lister,
        entities=entities,
        collections=CollectionLister(entities),
        finish=finish,
        capacity=Capacity(limits.lite_warn_entities, limits.lite_max_entities),
        engine=engine,
        threads=threads,
        batch_items=settings.jobs.batch_items,
        shard_items=settings.jobs.shard_items,
    )
    worker = ShardWorker(
        scope,
        store,
        pipeline,
        entities,
        meter,
        finish=finish,
        board=board,
        metrics=metrics,
        limits=make_batch_limits(settings),
        max_attempts=settings.jobs.max_attempts,
    )
    return {
        EXPAND: Work(expansion.handle, _EXPANSIONS_AT_ONCE),
        SHARD: Work(worker.handle, settings.jobs.shards_at_once),
    }


async def start(
    settings: IngestSettings,
    stack: AsyncExitStack,
    engine: DbosEngine,
    executor: str,
    kinds: Mapping[str, Work],
) -> None:
    """Begin to work, in the sight of other workers if there may be any."""
    if settings.database_url is None or settings.role is Role.API:
        stack.push_async_callback(engine.stop)
        await engine.start({} if settings.role is Role.API else kinds)
        return
    presence = PostgresPresence(settings.database_url.get_secret_value(), executor)
    stack.push_async_callback(presence.release)  # when the engine has stopped
    await presence.hold()
    stack.push_async_callback(engine.stop)
    await engine.start(kinds)
    takeover = Takeover(engine, presence, delay=settings.jobs.takeover_delay)
    run_beside(stack, takeover.run)
