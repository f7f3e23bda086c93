"""The first task of a job: find its items, then cut them into shards."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.patience import TRANSIENT, Patience
from lookalike_ingest.capacity import Capacity
from lookalike_ingest.entities import Collection, EntityStore
from lookalike_ingest.job import CollectionSource, Job, NewItem
from lookalike_ingest.job_store import JobStore
from lookalike_ingest.sources.collection_items import CollectionLister
from lookalike_ingest.sources.listing import Lister
from lookalike_ingest.steps.step import JobFailedError
from lookalike_ingest.tasks.engine import JobEngine, Steps, Task
from lookalike_ingest.tasks.finish import Finish
from lookalike_ingest.tasks.job_scope import JobScope
from lookalike_ingest.tasks.shard import SHARD

EXPAND = "expand"
_LISTED_AT_ONCE = 500
_SHARDS_FOR_EVEN_LOAD = 4


class Expansion:
    """Handles `expand` tasks."""

    def __init__(
        self,
        scope: JobScope,
        store: JobStore,
        *,
        lister: Lister,
        entities: EntityStore,
        collections: CollectionLister,
        finish: Finish,
        capacity: Capacity,
        engine: JobEngine,
        threads: ThreadPoolExecutor,
        batch_items: int,
        shard_items: int,
    ) -> None:
        self._scope = scope
        self._store = store
        self._lister = lister
        self._entities = entities
        self._collections = collections
        self._finish = finish
        self._capacity = capacity
        self._engine = engine
        self._threads = threads
        self._batch_items = batch_items
        self._shard_items = shard_items

    async def handle(self, task: Task, steps: Steps) -> None:
        """Find the items, then submit the shards."""
        await self._scope.begin(task)
        find = partial(self._scope.guard, task, partial(self._find_items, task))
        shard_items = await steps.run("find", find)
        submit = partial(self._submit_shards, task, shard_items)
        await steps.run("submit", partial(self._scope.guard, task, submit))

    async def _find_items(self, task: Task, job: Job) -> int:
        """Write all items into the store; return how many make a shard, 0 for nothing to do."""

        def stops(now: Job) -> bool:
            return not now.works_in(task.round)

        with self._scope.identity(job):
            ended = await self._scope.run_until(job.id, stops, self._list(job))
        if ended is None or ended.state.final:
            await self._scope.settle(ended or await self._store.load(job.id))
            return 0
        return self._choose_shard_items(ended.found - ended.counts.done)

    async def _list(self, job: Job) -> Job:
        job = await self._store.begin_expansion(job.id)
        if job.listed:
            return job
        collection = await self._check_collection(job)
        if job.retry_of and not await self._store.must_list_again(job.retry_of):
            await self._copy_left(job)
        else:
            await self._list_source(job, collection)
        return await self._store.end_expansion(job.id, job.expansion)

    async def _list_source(self, job: Job, collection: Collection) -> None:
        count = 0
        async for items in self._found(job, collection):
            count += sum(each.outcome is None for each in items)
            await self._check_capacity(job, collection, count)
            if job.retry_of:
                items = await self._store.drop_done(job.retry_of, items)  # noqa: PLW2901 - those left
            await self._store.add_items(job.id, items, job.expansion)

    async def _found(self, job: Job, target: Collection) -> AsyncIterator[Sequence[NewItem]]:
        """Yield the items of a job's source, some at a time."""
        source = job.spec.source
        if isinstance(source, CollectionSource):
            try:
                async for page in self._collections.list_pages(source, target, self._patience(job)):
                    yield page
            except LookalikeError as error:
                raise JobFailedError(error) from error
            return
        found = self._lister.list_items(job)
        while items := await self._take(job, found):
            yield items

    async def _copy_left(self, job: Job) -> None:
        """Take what the job before has left to do, from where it lay then."""
        after = -1
        while True:
            items, after = await self._store.list_left(
                job.retry_of, after=after, limit=_LISTED_AT_ONCE
            )
            if not items:
                return
            await self._store.add_items(job.id, items, job.expansion)

    async def _check_capacity(self, job: Job, collection: Collection, items: int) -> None:
        try:
            warning = self._capacity.check(collection, items)
        except LookalikeError as error:
            raise JobFailedError(error) from error
        if warning:
            await self._store.set_warnings(job.id, [warning])

    async def _check_collection(self, job: Job) -> Collection:
        get = partial(self._entities.get_collection, job.spec.collection)
        try:
            collection: Collection = await self._patience(job).call("search", get)
        except LookalikeError as error:
            raise JobFailedError(error) from error
        return collection

    def _patience(self, job: Job) -> Patience:
        return self._scope.patience(
            on_wait=partial(self._store.set_waiting, job.id),
            on_resume=partial(self._store.set_running, job.id),
        )

    async def _take(self, job: Job, found: Iterator[NewItem]) -> Sequence[NewItem]:
        """Return the next items; a source that is away makes the job wait, and begin again."""
        loop = asyncio.get_running_loop()
        take = partial(_take_some, found)
        try:
            return await loop.run_in_executor(self._threads, take)
        except TRANSIENT as error:
            await self._store.set_waiting(job.id, f"source: {error.message}")
            raise

    def _choose_shard_items(self, total: int) -> int:
        """Make shards small enough that a small job also keeps all workers busy."""
        even = math.ceil(total / _SHARDS_FOR_EVEN_LOAD)
        return max(1, min(max(even, self._batch_items), self._shard_items))

    async def _submit_shards(self, task: Task, shard_items: int, job: Job) -> int:
        """Submit the shards from the first item on that is left; finish where none is.

        A job with a pace has its shards submitted one by one, when their time comes.
        """
        pending = await self._store.first_pending(job.id) if shard_items else None
        if pending is None:
            await self._finish.run(job)
            return 0
        if job.spec.options.max_items_per_second:
            await self._store.begin_pace(job.id, pending)
            return job.found
        turns = await self._store.choose_turns(job.id, SHARD)
        start = pending - pending % shard_items
        for number, first in enumerate(range(start, job.found, shard_items)):
            last = min(first + shard_items, job.found) - 1
            turn = turns.of(number)
            await self._engine.submit(Task(SHARD, job.id, first, last, task.round, turn))
        return job.found


def _take_some(found: Iterator[NewItem]) -> Sequence[NewItem]:
    return list(islice(found, _LISTED_AT_ONCE))
