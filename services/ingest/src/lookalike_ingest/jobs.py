"""What callers can do with jobs, free of any protocol.

`create` does little whatever the size of the job: it checks what can be checked at a glance, keeps
the bytes that came along, and writes one row; all else is the engine's.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias

from lookalike_common.errors import (
    BackendUnavailableError,
    LookalikeError,
    NotFoundError,
    OutOfRangeError,
    WrongJobStateError,
)
from lookalike_common.ids import parse_name
from lookalike_ingest.asset_store import AssetStore, asset_name
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.encoding import Encoder
from lookalike_ingest.entities import EntityStore
from lookalike_ingest.job import (
    Attributes,
    CollectionSource,
    FilesSource,
    GivenItem,
    ItemFailure,
    ItemsSource,
    Job,
    JobOptions,
    JobSpec,
    JobState,
    ListedItem,
    Outcome,
    Source,
    SplitterOptions,
    TableSource,
)
from lookalike_ingest.job_feed import JobFeed
from lookalike_ingest.job_store import JobFilter, JobStore, NewJob
from lookalike_ingest.places import AssetPlace, SpooledContent, SpoolPlace
from lookalike_ingest.sources.remote import Remotes
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.spec_codec import spec_digest
from lookalike_ingest.spool import Spool
from lookalike_ingest.tasks.engine import JobEngine, Task
from lookalike_ingest.tasks.expansion import EXPAND
from lookalike_ingest.tasks.job_scope import JobScope

_ASSETS = "assets/"


@dataclass(frozen=True, slots=True)
class GivenBytes:
    """Bytes that came in the request."""

    data: bytes
    content: SpooledContent


@dataclass(frozen=True, slots=True)
class RequestedItem:
    """One item of a request: bytes, or the SHA-256 of an asset."""

    content: GivenBytes | AssetPlace
    key: str = ""
    source_uri: str = ""
    attributes: Attributes = field(default_factory=dict)


RequestedSource: TypeAlias = FilesSource | TableSource | CollectionSource | Sequence[RequestedItem]
"""Where a request says that its items come from."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a caller asks for."""

    collection: str
    source: RequestedSource
    options: JobOptions = field(default_factory=JobOptions)
    splitter: SplitterOptions = field(default_factory=SplitterOptions)
    attributes: Attributes = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class JobsLimits:
    """How much is accepted, and how long things may take."""

    max_unfinished: int = 1000
    max_unfinished_of_tenant: int = 1000
    check_deadline: timedelta = timedelta(seconds=0.25)
    """For a look at the collection; without an answer the job is accepted, and looks again."""
    watch_interval: timedelta = timedelta(seconds=0.1)
    """At most so often a follower is told of changes."""
    look_interval: timedelta = timedelta(seconds=0.25)
    """So often a follower looks for changes made by other processes."""


class Jobs:
    """Creates, shows, follows, pauses, retries and cancels jobs."""

    def __init__(
        self,
        store: JobStore,
        feed: JobFeed,
        engine: JobEngine,
        scope: JobScope,
        *,
        spool: Spool,
        roots: Roots,
        remotes: Remotes,
        assets: AssetStore,
        entities: EntityStore,
        encoder: Encoder,
        limits: JobsLimits,
    ) -> None:
        self._store = store
        self._feed = feed
        self._engine = engine
        self._scope = scope
        self._spool = spool
        self._roots = roots
        self._remotes = remotes
        self._assets = assets
        self._entities = entities
        self._encoder = encoder
        self._limits = limits
        self._aside: set[asyncio.Task[None]] = set()

    async def create(self, tenant: str, request: JobRequest) -> Job:
        """Accept a job, or return the one that the same request made before.

        Raises what `JobStore.create` raises; LocationNotAllowedError, NotFoundError or
        InvalidArgumentError for a source, with its field; NotFoundError for the collection, or a
        detector.
        """
        job_id = _job_id(tenant, request.request_id or uuid.uuid4().hex)
        spec, pieces = await asyncio.to_thread(_specify, request)
        if await self._store.find(tenant, job_id) is None:
            await self._check_source(tenant, request.source)
            await self._check_collection(request.collection)
            await self._check_detectors(request.splitter)
            if pieces:
                await self._spool.write(job_id, pieces)
        new = NewJob(job_id, tenant, request.request_id, spec_digest(spec), spec)
        job = await self._create(new)
        await self._submit(job)
        return job

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return a job. Raises NotFoundError."""
        job = await self._store.find(tenant, job_id)
        if job is None:
            raise NotFoundError(
                "no such job, or its retention has passed",
                resource_type="lookalike/Job",
                resource_name=f"jobs/{job_id}",
            )
        return job

    async def list_page(
        self,
        tenant: str,
        which: JobFilter,
        *,
        before_generation: int | None,
        size: int,
    ) -> Sequence[Job]:
        """Return jobs older than a generation, newest first."""
        return await self._store.list_jobs(
            tenant, which, before_generation=before_generation, limit=size
        )

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Stop a job for good; a final one stays as it is. Raises NotFoundError."""
        job = await self.get(tenant, job_id)
        if not job.state.final:
            job = await self._store.end(job_id, JobState.CANCELLED)
            self._do_aside(self._drop(job))
        return job

    async def pause(self, tenant: str, job_id: str) -> Job:
        """Stop a job until it is resumed. Raises NotFoundError or WrongJobStateError.

        Its tasks find it paused and end, which frees their places; resuming submits others.
        """
        await self.get(tenant, job_id)
        return await self._store.pause(job_id)

    async def resume(self, tenant: str, job_id: str) -> Job:
        """Let a paused job go on at once. Raises NotFoundError or WrongJobStateError."""
        await self.get(tenant, job_id)
        job = await self._store.resume(job_id)
        await self._scope.settle(job)
        await self._submit(job)
        return job

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Start a job with what failed or was not reached in a final one; the same one each time.

        Raises NotFoundError, OverloadedError, or WrongJobStateError when the job is not final or
        has nothing left.
        """
        job = await self.get(tenant, job_id)
        if not job.state.final:
            raise _wrong_state(job, "the job is not final yet; cancel it, or wait for its end")
        retry_id = _job_id(tenant, "retry", job_id)
        known = await self._store.find(tenant, retry_id)
        if known is None and not await self._store.has_left(job_id):
            raise _wrong_state(job, "nothing is left to retry")
        await self._spool.copy(job_id, retry_id)
        options = replace(job.spec.options, sync=False, watch_interval=None)
        spec = replace(job.spec, options=options)
        new = NewJob(retry_id, tenant, "", spec_digest(spec), spec, retry_of=job_id)
        retry = await self._create(new)
        await self._submit(retry)
        return retry

    async def watch(
        self, tenant: str, job_id: str, after: int, *, is_serving: Callable[[], bool]
    ) -> AsyncIterator[Job]:
        """Yield the job whenever its revision rose above `after`; end behind its final state.

        Raises NotFoundError, OutOfRangeError for a revision that was never reached, or
        BackendUnavailableError when the service stops: the next one goes on from there.
        """
        with self._feed.subscribe(job_id) as subscription:
            job = await self.get(tenant, job_id)
            if after > job.revision:
                raise OutOfRangeError(f"the job stands at {job.revision}", field="offset")
            while True:
                if job.revision > after:
                    after = job.revision
                    yield job
                if job.state.final:
                    return
                await asyncio.sleep(self._limits.watch_interval.total_seconds())
                await subscription.wait(self._limits.look_interval)
                if not is_serving():
                    raise BackendUnavailableError("the service stops; go on from the last offset")
                job = await self.get(tenant, job_id)

    async def list_failures(
        self, tenant: str, job_id: str, *, after: int, size: int
    ) -> Sequence[ItemFailure]:
        """Return failed items behind a sequence number. Raises NotFoundError."""
        await self.get(tenant, job_id)
        return await self._store.list_failures(job_id, after=after, limit=size)

    async def list_items(
        self,
        tenant: str,
        job_id: str,
        *,
        outcomes: Sequence[Outcome | None],
        after: int,
        size: int,
    ) -> Sequence[ListedItem]:
        """Return items behind an ordinal. Raises NotFoundError."""
        await self.get(tenant, job_id)
        return await self._store.list_items(job_id, outcomes=outcomes, after=after, limit=size)

    async def resume_all(self) -> None:
        """Submit all unfinished jobs again, and let go of bytes whose job nobody knows."""
        await self._spool.keep_only(await self._store.list_retriable())
        await self.resubmit()

    async def resubmit(self) -> None:
        """Submit all unfinished jobs again, in case a crash came before the engine knew them."""
        for job in await self._store.list_unfinished():
            await self._submit(job)

    async def close(self) -> None:
        """Wait for what is done aside."""
        await asyncio.gather(*self._aside, return_exceptions=True)

    async def _create(self, new: NewJob) -> Job:
        return await self._store.create(
            new,
            max_unfinished=self._limits.max_unfinished,
            max_of_tenant=self._limits.max_unfinished_of_tenant,
        )

    async def _submit(self, job: Job) -> None:
        """Let the engine begin the job's round."""
        if job.works_in(job.round):
            turns = await self._store.choose_turns(job.id, EXPAND)
            await self._engine.submit(Task(EXPAND, job.id, round=job.round, turn=turns.first))

    async def _drop(self, job: Job) -> None:
        """Let go of a cancelled job's tasks and bytes; what is missed here does nothing later."""
        await self._engine.cancel(job.id)
        await self._scope.settle(job)

    # Any: what a coroutine yields and receives is between it and the event loop.
    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _check_source(
        self,
        tenant: str,
        source: RequestedSource,
    ) -> None:
        if isinstance(source, FilesSource):
            await asyncio.to_thread(self._check_files, source.uris)
            named = [
                (f"job.files.uris[{index}]", uri)
                for index, uri in enumerate(source.uris)
                if uri.startswith(_ASSETS)
            ]
        elif isinstance(source, CollectionSource):
            await self._check_collection(source.collection, "job.from_collection.collection")
            return
        elif isinstance(source, TableSource):
            if not source.uri.startswith(_ASSETS):
                await asyncio.to_thread(self._check_uri, source.uri, "job.table.uri")
                return
            named = [("job.table.uri", source.uri)]
        else:
            named = [
                (f"job.items.items[{index}].content.asset", asset_name(item.content.sha256))
                for index, item in enumerate(source)
                if isinstance(item.content, AssetPlace)
            ]
        for field_path, name in named:
            await self._check_asset(
                tenant, parse_name(name, "assets", field=field_path)[0], field_path
            )

    def _check_files(self, uris: Sequence[str]) -> None:
        """Refuse files that do not exist or may not be read; blocks."""
        for index, uri in enumerate(uris):
            if not uri.startswith(_ASSETS):
                self._check_uri(uri, f"job.files.uris[{index}]")

    def _check_uri(self, uri: str, field_path: str) -> None:
        try:
            remote = self._remotes.serving(uri)
            if remote is not None:
                remote.place_of(uri)
            else:
                self._roots.resolve_uri(uri)
        except LookalikeError as error:
            raise error.at(field_path) from error

    async def _check_asset(self, tenant: str, sha256: str, field_path: str) -> None:
        if await self._assets.find(tenant, sha256) is None:
            raise NotFoundError(
                "no such asset",
                field=field_path,
                resource_type="lookalike/Asset",
                resource_name=asset_name(sha256),
            )

    async def _check_collection(self, name: str, field_path: str = "job.collection") -> None:
        """Refuse an unknown collection; whatever else is wrong, the job itself finds out."""
        try:
            async with asyncio.timeout(self._limits.check_deadline.total_seconds()):
                await self._entities.get_collection(name)
        except (*TRANSIENT, TimeoutError):
            return
        except NotFoundError as error:
            raise error.at(field_path) from error

    async def _check_detectors(self, splitter: SplitterOptions) -> None:
        """Refuse an unknown detector; whatever else is wrong, the job itself finds out."""
        for field_path, options in (
            ("job.splitter.image.detector", splitter.image),
            ("job.splitter.video.frames.detector", splitter.video.frames),
        ):
            if not options.detector:
                continue
            try:
                async with asyncio.timeout(self._limits.check_deadline.total_seconds()):
                    await self._encoder.describe(options.detector)
            except (*TRANSIENT, TimeoutError):
                continue
            except NotFoundError as error:
                raise error.at(field_path) from error


def _wrong_state(job: Job, message: str) -> WrongJobStateError:
    return WrongJobStateError(message, resource_type="lookalike/Job", resource_name=job.name)


def _job_id(*parts: str) -> str:
    total = hashlib.sha256()
    for part in (each.encode() for each in parts):
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:32]


def _specify(request: JobRequest) -> tuple[JobSpec, Sequence[bytes]]:
    """Return what was asked for, with bytes replaced by their place in the spool, and the bytes."""
    source: Source
    pieces: dict[str, tuple[int, bytes]] = {}
    if isinstance(request.source, FilesSource | TableSource | CollectionSource):
        source = request.source
    else:
        source = ItemsSource([_give_place(item, pieces) for item in request.source])
    spec = JobSpec(
        request.collection,
        source,
        request.options,
        request.attributes,
        request.labels,
        request.splitter,
    )
    return spec, [data for _, data in pieces.values()]


def _give_place(item: RequestedItem, pieces: dict[str, tuple[int, bytes]]) -> GivenItem:
    """Keep equal bytes once, one piece after the other."""
    if isinstance(item.content, AssetPlace):
        sha256 = item.content.sha256
        return GivenItem(item.content, sha256, item.key, item.source_uri, item.attributes)
    data = item.content.data
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 not in pieces:
        last_offset, last = next(reversed(pieces.values()), (0, b""))
        pieces[sha256] = (last_offset + len(last), data)
    place = SpoolPlace(pieces[sha256][0], len(data), item.content.content)
    return GivenItem(place, sha256, item.key, item.source_uri, item.attributes)
