"""Serves the requests of one stream side by side and replies in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


async def pipelined(
    requests: AsyncIterator[_Request],
    serve: Callable[[_Request], Awaitable[_Reply]],
    *,
    depth: int,
) -> AsyncIterator[_Reply]:
    """Yield a reply for each request, in order, while up to `depth` are being served.

    Where a request fails, or reading the next one does, the replies before it are yielded and
    then the error is raised. Closing the iterator cancels what is being served.
    """
    pending: asyncio.Queue[asyncio.Future[_Reply] | None] = asyncio.Queue()
    room = asyncio.Semaphore(depth)
    served: set[asyncio.Future[_Reply]] = set()

    async def read() -> None:
        try:
            async for request in requests:
                await room.acquire()
                task = asyncio.ensure_future(serve(request))
                served.add(task)
                pending.put_nowait(task)
        except Exception as error:  # noqa: BLE001 - it is raised where the replies are read
            failed: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            served.add(failed)
            pending.put_nowait(failed)
        else:
            pending.put_nowait(None)

    reader = asyncio.ensure_future(read())
    try:
        while (task := await pending.get()) is not None:
            yield await task
            served.discard(task)
            room.release()
    finally:
        reader.cancel()
        for task in served:
            task.cancel()
        await asyncio.gather(reader, *served, return_exceptions=True)
