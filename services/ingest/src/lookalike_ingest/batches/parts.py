"""The parts of a batch's items as chunks: as large as pays, as small as memory needs.

Items that are only looked at are split together, some in a thread at a time. Items that are decoded
are split beside each other, and what waits to be encoded is bounded by its bytes: a splitter that
is ahead stops until the encoder has caught up.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from lookalike_ingest.batches.batching import cut
from lookalike_ingest.concurrency import gather_all
from lookalike_ingest.steps.split import Part
from lookalike_ingest.steps.step import StepError

Split: TypeAlias = Callable[[], Iterator[Part]]
"""Begins to split one item; blocks, and so does each step of what it returns."""

_LIGHT_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How much is encoded and written together; one larger part still makes a chunk."""

    parts: int = 64
    bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Some parts of one item, in their order."""

    index: int
    """Of the item among those that are split."""
    parts: Sequence[Part] = ()
    ended: bool = False
    """Whether there are no more."""
    failure: StepError | None = None
    """Why there are no more, where that is no good end."""

    @property
    def size(self) -> int:
        """Bytes that its parts hold in memory."""
        return sum(part.size for part in self.parts)


@dataclass(slots=True)
class Chunk:
    """What is encoded and written together, piece by piece."""

    pieces: list[Piece] = field(default_factory=list)

    @property
    def parts(self) -> Sequence[Part]:
        """All parts."""
        return list(chain.from_iterable(piece.parts for piece in self.pieces))


class PartStream:
    """Splits the items of one batch."""

    def __init__(self, threads: ThreadPoolExecutor, limits: ChunkLimits, at_once: int) -> None:
        self._threads = threads
        self._limits = limits
        self._at_once = at_once

    async def chunks(
        self, light: Sequence[Split], heavy: Sequence[Split], given_up: Container[int] = ()
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the parts of all items; `heavy` ones are numbered behind `light` ones.

        Heavy items that come to be `given_up` meanwhile are split no further, and end without a
        last piece.
        """
        pieces = await self._split_light(light)
        sizes = [piece.size for piece in pieces]
        for run in cut(sizes, self._limits.parts, self._limits.bytes):
            yield Chunk(list(pieces[run]))
        async with aclosing(self._split_heavy(heavy, len(light), given_up)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _split_light(self, splits: Sequence[Split]) -> Sequence[Piece]:
        def run(first: int) -> Sequence[Piece]:
            some = splits[first : first + _LIGHT_AT_ONCE]
            return [_split_whole(first + number, split) for number, split in enumerate(some)]

        loop = asyncio.get_running_loop()
        slices = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, run, first)
                for first in range(0, len(splits), _LIGHT_AT_ONCE)
            )
        )
        return [piece for some in slices for piece in some]

    async def _split_heavy(
        self, splits: Sequence[Split], first: int, given_up: Container[int]
    ) -> AsyncGenerator[Chunk, None]:
        if not splits:
            return
        waiting = _Waiting(self._limits.bytes)
        slots = asyncio.Semaphore(self._at_once)

        async def feed(index: int, split: Split) -> None:
            async with slots:
                await self._feed(first + index, split, waiting, given_up)

        async def feed_all() -> None:
            try:
                await gather_all(feed(index, split) for index, split in enumerate(splits))
            finally:
                await waiting.close()

        feeding = asyncio.create_task(feed_all())
        try:
            while pieces := await waiting.take(self._limits):
                yield Chunk(pieces)
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(
        self, index: int, split: Split, waiting: "_Waiting", given_up: Container[int]
    ) -> None:
        """Split one item; its iterator is closed in a thread, wherever this ends."""
        loop = asyncio.get_running_loop()
        puller = _Puller(index, split, self._limits)
        try:
            while index not in given_up:
                piece = await loop.run_in_executor(self._threads, puller.pull)
                await waiting.put(piece)
                if piece.ended:
                    break
        finally:
            await asyncio.shield(loop.run_in_executor(self._threads, puller.close))


class _Puller:
    """Takes some parts at a time from one item; a thread at a time."""

    def __init__(self, index: int, split: Split, limits: ChunkLimits) -> None:
        self._index = index
        self._split = split
        self._limits = limits
        self._parts: Iterator[Part] | None = None
        self._busy = threading.Lock()

    def pull(self) -> Piece:
        """Return the next parts, a quarter of a chunk at most."""
        with self._busy:
            return self._pull()

    def close(self) -> None:
        """Let go of what the splitter holds, once no thread pulls any more."""
        with self._busy:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()

    def _pull(self) -> Piece:
        parts: list[Part] = []
        size = 0
        try:
            if self._parts is None:
                self._parts = self._split()
            for part in self._parts:
                parts.append(part)
                size += part.size
                if len(parts) * 4 >= self._limits.parts or size * 4 >= self._limits.bytes:
                    return Piece(self._index, parts)
        except StepError as error:
            return Piece(self._index, parts, ended=True, failure=error)
        return Piece(self._index, parts, ended=True)


class _Waiting:
    """Pieces that wait to be encoded, bounded by their bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[Piece] = []
        self._bytes = 0
        self._closed = False
        self._moved = asyncio.Condition()

    async def put(self, piece: Piece) -> None:
        """Add a piece as soon as there is room, or nothing else waits."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: not self._pieces or self._bytes + piece.size <= self._max_bytes
            )
            self._pieces.append(piece)
            self._bytes += piece.size
            self._moved.notify_all()

    async def take(self, limits: ChunkLimits) -> list[Piece]:
        """Return what waits, up to a chunk; nothing at the end."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._pieces or self._closed)
            sizes = [piece.size for piece in self._pieces]
            count = cut(sizes, limits.parts, limits.bytes)[0].stop if sizes else 0
            taken, self._pieces = self._pieces[:count], self._pieces[count:]
            self._bytes -= sum(sizes[:count])
            self._moved.notify_all()
            return taken

    async def close(self) -> None:
        """Say that nothing more comes."""
        async with self._moved:
            self._closed = True
            self._moved.notify_all()


def _split_whole(index: int, split: Split) -> Piece:
    """Return all parts of an item that has few."""
    parts: list[Part] = []
    try:
        parts.extend(split())
    except StepError as error:
        return Piece(index, parts, ended=True, failure=error)
    return Piece(index, parts, ended=True)
