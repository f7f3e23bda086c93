"""The stream of parts: in order, whole, bounded in memory, and let go of wherever it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import InvalidContentError
from lookalike_common.testing import assert_eventually
from lookalike_ingest.batches.parts import Chunk, ChunkLimits, PartStream, Split
from lookalike_ingest.encoding import Content
from lookalike_ingest.media_types import Modality
from lookalike_ingest.steps.split import Part, SplitError


@dataclass
class Source:
    """An item that is split into parts of one size."""

    parts: int
    size: int = 1
    fails: bool = False
    made: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    def split(self) -> Iterator[Part]:
        try:
            for index in range(self.parts):
                self.made += 1
                yield Part(index, Content(Modality.TEXT, b"x" * self.size))
            if self.fails:
                raise SplitError(InvalidContentError("damaged"))
        finally:
            self.closed.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


async def collect(
    threads: ThreadPoolExecutor,
    limits: ChunkLimits,
    light: Sequence[Source],
    heavy: Sequence[Source],
) -> list[Chunk]:
    stream = PartStream(threads, limits, at_once=3)
    looked_at: list[Split] = [each.split for each in light]
    decoded: list[Split] = [each.split for each in heavy]
    return [chunk async for chunk in stream.chunks(looked_at, decoded)]


COUNTS = st.lists(st.integers(0, 40), max_size=12)


@settings(deadline=None)
@given(light=COUNTS, heavy=COUNTS, parts=st.integers(1, 20), size=st.integers(1, 300))
def test_every_part_comes_once_in_the_order_of_its_item(
    light: list[int], heavy: list[int], parts: int, size: int
) -> None:
    sources = [[Source(count, fails=count % 3 == 2) for count in some] for some in (light, heavy)]
    limits = ChunkLimits(parts, size)
    with ThreadPoolExecutor(4) as threads:
        chunks = asyncio.run(collect(threads, limits, *sources))
    found: dict[int, list[int]] = {}
    ends: dict[int, bool] = {}
    for chunk in chunks:
        for piece in chunk.pieces:
            assert piece.index not in ends, "nothing comes behind the end"
            found.setdefault(piece.index, []).extend(part.index for part in piece.parts)
            if piece.ended:
                ends[piece.index] = piece.failure is not None
    together = [*sources[0], *sources[1]]
    assert found == {index: list(range(each.parts)) for index, each in enumerate(together)}
    assert ends == {index: each.fails for index, each in enumerate(together)}


async def test_chunks_of_what_is_decoded_keep_to_their_limits(threads: ThreadPoolExecutor) -> None:
    limits = ChunkLimits(parts=10, bytes=1000)
    chunks = await collect(threads, limits, [], [Source(100, size=90), Source(7, size=2000)])
    for chunk in chunks:
        assert len(chunk.parts) <= limits.parts
        assert sum(part.size for part in chunk.parts) <= limits.bytes or len(chunk.pieces) == 1


async def test_a_splitter_that_is_ahead_waits_for_the_encoder(threads: ThreadPoolExecutor) -> None:
    limits = ChunkLimits(parts=8, bytes=800)
    sources = [Source(10_000, size=100), Source(10_000, size=100)]
    stream = PartStream(threads, limits, at_once=2)
    taken = 0
    async with aclosing(stream.chunks([], [each.split for each in sources])) as chunks:
        async for chunk in chunks:
            taken += len(chunk.parts)
            await asyncio.sleep(0.01)  # what an encoder needs
            ahead = sum(each.made for each in sources) - taken
            # what waits, and for each item the piece that was not let in yet
            assert ahead * 100 <= limits.bytes + 2 * limits.bytes
            if taken > 200:
                break
    assert sum(each.made for each in sources) < 1000


async def test_what_is_given_up_is_split_no_further(threads: ThreadPoolExecutor) -> None:
    limits = ChunkLimits(parts=8, bytes=800)
    sources = [Source(10_000), Source(100)]
    stream = PartStream(threads, limits, at_once=2)
    given_up: set[int] = set()
    ends = []
    async for chunk in stream.chunks([], [each.split for each in sources], given_up):
        given_up |= {0}
        ends += [piece.index for piece in chunk.pieces if piece.ended]
    assert ends == [1]
    assert sources[0].made < 100
    assert sources[0].closed.is_set()


@pytest.mark.parametrize("how", ["left", "cancelled"])
async def test_whoever_stops_lets_go_of_all_splitters(
    threads: ThreadPoolExecutor, how: str
) -> None:
    sources = [Source(10_000, size=100) for _ in range(3)]
    stream = PartStream(threads, ChunkLimits(8, 800), at_once=3)

    async def run() -> None:
        chunks: AsyncIterator[Chunk]
        async with aclosing(stream.chunks([], [each.split for each in sources])) as chunks:
            async for _ in chunks:
                if how == "left" and all(each.made for each in sources):
                    return

    task = asyncio.create_task(run())
    if how == "cancelled":
        await assert_eventually(lambda: all(each.made for each in sources))
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(each.closed.is_set() for each in sources)


@pytest.mark.parametrize("heavy", [False, True])
async def test_a_defect_of_a_splitter_ends_the_batch(
    threads: ThreadPoolExecutor, *, heavy: bool
) -> None:
    def broken() -> Iterator[Part]:
        yield Part(0, None)
        raise ZeroDivisionError

    others = Source(10_000, size=100)
    light, heavies = ([], [broken, others.split]) if heavy else ([broken], [])
    stream = PartStream(threads, ChunkLimits(8, 800), at_once=3)
    with pytest.raises(ZeroDivisionError):
        [chunk async for chunk in stream.chunks(light, heavies)]
    assert others.closed.is_set() == heavy
