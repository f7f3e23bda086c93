"""Requests of a stream are served side by side, answered in order, and cleaned up after."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from lookalike_common.testing import assert_eventually
from lookalike_encoder.pipelining import pipelined


async def stream(numbers: Iterable[int]) -> AsyncIterator[int]:
    for number in numbers:
        yield number


class Server:
    """Finishes requests in the order it is told."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[int]] = {}
        self.most = 0

    async def serve(self, request: int) -> int:
        self.waiting[request] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.waiting))
        try:
            return await self.waiting[request]
        finally:
            del self.waiting[request]

    async def until_waiting(self, *requests: int) -> None:
        await assert_eventually(lambda: set(self.waiting) == set(requests))


async def test_replies_come_in_order_whatever_finishes_first() -> None:
    server = Server()
    replies = aiter(pipelined(stream(range(3)), server.serve, depth=3))
    first = asyncio.ensure_future(anext(replies))
    await server.until_waiting(0, 1, 2)
    for request in (2, 1, 0):
        server.waiting[request].set_result(request * 10)
    assert [await first, await anext(replies), await anext(replies)] == [0, 10, 20]
    with pytest.raises(StopAsyncIteration):
        await anext(replies)


async def test_no_more_than_the_depth_is_served_at_once() -> None:
    served: list[int] = []

    async def serve(request: int) -> int:
        served.append(request)
        await asyncio.sleep(0)
        return request

    replies = aiter(pipelined(stream(range(100)), serve, depth=4))
    assert await anext(replies) == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(served) <= 5, "what is not taken off holds up what comes in"
    assert [reply async for reply in replies] == list(range(1, 100))


async def test_an_error_comes_after_the_replies_before_it() -> None:
    async def serve(request: int) -> int:
        if request == 2:
            raise ValueError("two")
        return request

    replies = aiter(pipelined(stream(range(5)), serve, depth=8))
    assert [await anext(replies), await anext(replies)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        await anext(replies)


async def test_an_error_while_reading_comes_after_the_replies_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise ValueError("unreadable")

    async def serve(request: int) -> int:
        await asyncio.sleep(0)
        return request

    replies = aiter(pipelined(broken(), serve, depth=8))
    assert await anext(replies) == 0
    with pytest.raises(ValueError, match="unreadable"):
        await anext(replies)


async def test_leaving_cancels_what_is_served() -> None:
    server = Server()
    replies = pipelined(stream(range(10)), server.serve, depth=3)
    first = asyncio.ensure_future(anext(replies))
    await server.until_waiting(0, 1, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not server.waiting
