"""Gives the tasks of workers that died to those that live.

The rule: a worker that has held no lock for as long as the delay is dead. Should it live after all,
as behind a broken network, both work on the task for a while: outcomes are recorded once, entities
of one job are equal, and the engine keeps only what the task's new owner says.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from lookalike_ingest.batches.patience import TRANSIENT

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that an executor has begun and not finished."""

    key: str
    kind: str
    executor: str
    mislaid: bool = False
    """It is said to run in this process, but does not: the answer to its claim was lost."""


class Claims(Protocol):
    """Which executor works on what, as far as the engine knows."""

    async def list_claims(self) -> Sequence[Claim]:
        """Return all tasks that were begun and not finished."""

    async def take_over(self, executor: str) -> None:
        """Let others go on with an executor's tasks."""

    async def begin_again(self, claims: Sequence[Claim]) -> None:
        """Let somebody begin some tasks of this process."""


class Presence(Protocol):
    """Which executors are alive."""

    async def hold(self) -> None:
        """Be alive for the others from now on. Raises BackendUnavailableError."""

    async def find_gone(self, executors: Collection[str]) -> Collection[str]:
        """Return those of some executors that are not alive at the moment."""

    async def release(self) -> None:
        """Be gone."""


class Takeover:
    """Looks around every so often; every worker does."""

    def __init__(
        self,
        claims: Claims,
        presence: Presence,
        *,
        delay: timedelta,
        interval: timedelta = timedelta(seconds=0.5),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims = claims
        self._presence = presence
        self._delay = delay
        self._interval = interval
        self._clock = clock
        self._missed: dict[str, float] = {}
        """Since when an executor is gone, or a task of this process is mislaid."""

    async def run(self) -> None:
        """Look around, and be seen, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._presence.hold))
            group.create_task(self._repeat(self.look))  # the engine may wait for long

    async def look(self) -> None:
        """Look around once. Raises BackendUnavailableError."""
        claims = await self._claims.list_claims()
        gone = await self._presence.find_gone({each.executor for each in claims})
        mislaid = {each.key: each for each in claims if each.mislaid}
        now = self._clock()
        self._missed = {each: self._missed.get(each, now) for each in (*gone, *mislaid)}
        due = {
            each
            for each, since in self._missed.items()
            if now - since >= self._delay.total_seconds()
        }
        for executor in due.intersection(gone):
            _LOG.warning("worker %s is gone; its tasks go on elsewhere", executor)
            await self._claims.take_over(executor)
        if again := [claim for key, claim in mislaid.items() if key in due]:
            await self._claims.begin_again(again)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        blind = False
        while True:
            try:
                await step()
                blind = False
            except TRANSIENT as error:
                self._missed.clear()  # everybody may have lost their lock at once: give them time
                if not blind:
                    _LOG.warning("cannot see which workers are alive: %s", error.message)
                blind = True
            except Exception:  # noqa: BLE001 - a defect must not end it: nobody else takes over
                _LOG.exception("cannot see which workers are alive")
            await asyncio.sleep(self._interval.total_seconds())
