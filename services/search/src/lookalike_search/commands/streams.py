"""Writes the batches of one stream: several at once, answered in their order.

Batches that may write the same entity wait for each other, so that the last one wins, as in one
batch. What passes by itself (a full server, a part that is away) is the answer of that batch, with
the time to wait before it is sent again; what would be the same for all that follows ends the
stream. Reading stops while as many batches as may be are under way, which gRPC's flow control turns
into waiting for the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from lookalike_common.errors import Code, LookalikeError
from lookalike_search.commands.upserts import Upserts
from lookalike_search.pacing import Pace
from lookalike_search.writing import EntityDraft, WriteReport, Written, draft_key

_PASSING: Final = frozenset(
    {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED}
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities of one message."""

    collection_id: str
    drafts: Sequence[EntityDraft | LookalikeError]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the encoders that made the vectors, by vector field."""


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of one batch."""

    collection_id: str
    report: WriteReport
    backoff: timedelta
    """How long to wait before the next one; zero to go on."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A batch that is being written."""

    batch: Batch
    keys: frozenset[str]
    writing: asyncio.Task[WriteReport]


class UpsertStreams:
    """The command behind `StreamUpsertEntities`."""

    def __init__(
        self, upserts: Upserts, *, depth: int, slow_after: timedelta, longest_backoff: timedelta
    ) -> None:
        self._upserts = upserts
        self._depth = depth
        self._slow_after = slow_after
        self._longest_backoff = longest_backoff

    async def run(
        self, tenant: str, batches: AsyncIterator[Batch]
    ) -> AsyncGenerator[BatchAnswer, None]:
        """Yield an answer for each batch, in order; closing it cancels what is under way.

        An error, of a batch or of reading the next one, is raised after the answers before it.
        """
        pace = Pace(slow_after=self._slow_after, longest=self._longest_backoff)
        room = asyncio.Semaphore(self._depth)
        under_way: asyncio.Queue[_Started | Exception | None] = asyncio.Queue()
        writing: list[_Started] = []

        async def read() -> None:
            try:
                await room.acquire()
                async for batch in batches:
                    started = self._start(tenant, batch, writing)
                    writing.append(started)
                    under_way.put_nowait(started)
                    await room.acquire()
            except Exception as error:  # noqa: BLE001 - it is raised where the answers are read
                under_way.put_nowait(error)
            else:
                under_way.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            while (started := await under_way.get()) is not None:
                if isinstance(started, Exception):
                    raise started
                answer = await _answer(started, pace)
                writing.remove(started)
                yield answer
                room.release()
        finally:
            tasks = [reader, *(each.writing for each in writing)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, tenant: str, batch: Batch, writing: Sequence[_Started]) -> _Started:
        keys = frozenset(
            draft_key(each) for each in batch.drafts if not isinstance(each, LookalikeError)
        )
        before = [each.writing for each in writing if not keys.isdisjoint(each.keys)]

        async def write() -> WriteReport:
            if before:
                await asyncio.wait(before)
            return await self._upserts.upsert(
                tenant, batch.collection_id, batch.drafts, batch.fingerprints
            )

        return _Started(batch, keys, asyncio.create_task(write()))


async def _answer(started: _Started, pace: Pace) -> BatchAnswer:
    batch = started.batch
    try:
        report = await started.writing
    except LookalikeError as error:
        if error.code not in _PASSING:
            raise
        failed: list[Written | LookalikeError] = [
            each if isinstance(each, LookalikeError) else error for each in batch.drafts
        ]
        backoff = pace.after_failure(error.retry_after)
        return BatchAnswer(batch.collection_id, WriteReport(failed, 0), backoff)
    return BatchAnswer(batch.collection_id, report, pace.after_success(report.stored_in))
