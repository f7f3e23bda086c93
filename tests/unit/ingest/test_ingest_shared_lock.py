"""Who may hold the lock beside whom."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from lookalike_common.testing import assert_eventually
from lookalike_ingest.shared_lock import SharedLock


class Holder:
    """A task that holds the lock until it is told to let go."""

    def __init__(self, lock: AbstractAsyncContextManager[None]) -> None:
        self._lock = lock
        self._let_go = asyncio.Event()
        self.holds = False
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> None:
        async with self._lock:
            self.holds = True
            await self._let_go.wait()
        self.holds = False

    async def let_go(self) -> None:
        self._let_go.set()
        await self.task


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_alone_waits_for_all_and_goes_before_those_who_come_later() -> None:
    lock = SharedLock()
    first, second = Holder(lock.shared()), Holder(lock.shared())
    await assert_eventually(lambda: first.holds and second.holds)
    alone = Holder(lock.exclusive())
    await settle()
    late = Holder(lock.shared())
    await first.let_go()
    await settle()
    assert not alone.holds
    await second.let_go()
    await assert_eventually(lambda: alone.holds)
    other = Holder(lock.exclusive())
    await settle()
    assert (late.holds, other.holds) == (False, False)
    await alone.let_go()
    await assert_eventually(lambda: other.holds)
    assert not late.holds
    await other.let_go()
    await assert_eventually(lambda: late.holds)
    await late.let_go()


async def test_one_that_no_longer_waits_holds_nobody_up() -> None:
    lock = SharedLock()
    first = Holder(lock.shared())
    await assert_eventually(lambda: first.holds)
    alone = Holder(lock.exclusive())
    await settle()
    late = Holder(lock.shared())
    await settle()
    assert not late.holds
    alone.task.cancel()
    await assert_eventually(lambda: late.holds)
    await first.let_go()
    await late.let_go()
