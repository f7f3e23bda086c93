"""Puts the service together; the only place that constructs its parts."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from prometheus_client import CollectorRegistry

from lookalike_common.channels import open_channel
from lookalike_common.server import GrpcServer
from lookalike_ingest.adapters.encoder_client import EncoderClient
from lookalike_ingest.adapters.search_client import SearchClient
from lookalike_ingest.adapters.sql_deletions import SqlDeletionStore
from lookalike_ingest.adapters.sql_job_store import SqlJobStore
from lookalike_ingest.adapters.sql_loads import SqlLoadStore
from lookalike_ingest.cascade import Cascade
from lookalike_ingest.composition.serving import make_server, run_beside, watch_database
from lookalike_ingest.composition.sources import make_containers, make_remotes, open_sources
from lookalike_ingest.composition.storage import make_engine, make_spool, open_assets, open_database
from lookalike_ingest.composition.tuning import make_backoff, make_jobs_limits, name_executor
from lookalike_ingest.composition.work import make_kinds, make_pipeline, open_decoder, start
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.jobs import Jobs
from lookalike_ingest.metrics import JobMetrics
from lookalike_ingest.progress import ProgressMeter
from lookalike_ingest.progress_board import ProgressBoard
from lookalike_ingest.settings import IngestSettings, Role
from lookalike_ingest.signals import Signals
from lookalike_ingest.sources.canonical_names import CanonicalNames
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.tasks.housekeeping import Housekeeping
from lookalike_ingest.tasks.job_scope import JobScope
from lookalike_ingest.tasks.upkeep import Upkeep

_UPKEEP_INTERVAL = timedelta(seconds=1)


@asynccontextmanager
async def build(settings: IngestSettings) -> AsyncIterator[GrpcServer]:
    """Yield the server, not yet started; jobs that were left unfinished go on already."""
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(settings.jobs.read_threads, "read"))
        feed, meter, registry = JobFeed(), ProgressMeter(), CollectorRegistry()
        metrics = JobMetrics(registry)
        database = await open_database(settings, stack)
        store, loads = SqlJobStore(database, feed), SqlLoadStore(database)
        assets, cache = await open_assets(settings, stack)
        spool = make_spool(settings, database)
        roots = Roots(settings.roots)
        encoder = EncoderClient(await stack.enter_async_context(open_channel(settings.encoder)))
        entities = SearchClient(await stack.enter_async_context(open_channel(settings.search)))
        executor = name_executor(settings)
        engine = make_engine(settings, executor)
        decoder = open_decoder(settings, stack)
        scope = JobScope(store, feed, spool, meter, make_backoff(settings))
        board = ProgressBoard(loads, meter, executor)
        remotes = make_remotes(settings)
        containers = make_containers(settings, roots, remotes, assets, cache)
        names = CanonicalNames(containers, spool, decoder)
        lister, read_row = open_sources(settings, roots, remotes, containers, stack, names=names)
        pipeline = make_pipeline(
            settings,
            containers=containers,
            read_row=read_row,
            decoder=decoder,
            assets=assets,
            spool=spool,
            encoder=encoder,
            entities=entities,
            threads=threads,
        )
        kinds = make_kinds(
            settings,
            scope=scope,
            store=store,
            lister=lister,
            pipeline=pipeline,
            entities=entities,
            engine=engine,
            threads=threads,
            meter=meter,
            board=board,
            metrics=metrics,
        )
        jobs = Jobs(
            store,
            feed,
            engine,
            scope,
            spool=spool,
            roots=roots,
            remotes=remotes,
            assets=assets,
            entities=entities,
            encoder=encoder,
            limits=make_jobs_limits(settings),
        )
        cascade = Cascade(SqlDeletionStore(database), entities)
        server = make_server(settings, jobs, board, assets, registry, cascade=cascade)
        housekeeping = Housekeeping(
            store,
            engine,
            assets,
            spool,
            retention=settings.jobs.retention,
            resubmit=jobs.resubmit,
            cascade=cascade,
        )
        await start(settings, stack, engine, executor, kinds)
        stack.push_async_callback(jobs.close)
        await jobs.resume_all()
        if settings.role is not Role.API:
            run_beside(stack, housekeeping.run)
            upkeep = Upkeep(store, engine, settings.jobs.shard_items, _UPKEEP_INTERVAL)
            run_beside(stack, upkeep.run)
        run_beside(stack, Signals(loads, meter, metrics, settings.jobs.shard_items).run)
        run_beside(stack, partial(watch_database, database, server, settings.role))
        yield server
