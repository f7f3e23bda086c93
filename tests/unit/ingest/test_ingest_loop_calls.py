"""Threads that ask the event loop, and are never left waiting by a batch that has ended."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike_common.errors import (
    BackendUnavailableError,
    CallCancelledError,
    InvalidContentError,
    NotFoundError,
)
from lookalike_ingest.batches.patience import Backoff, Patience
from lookalike_ingest.encoding import Content, EncoderFacts, FoundObject
from lookalike_ingest.job import ImageOptions, SplitterOptions, VideoOptions
from lookalike_ingest.loop_calls import LoopCalls
from lookalike_ingest.media_types import Modality
from lookalike_ingest.object_finding import ObjectFinder, detectors_of
from lookalike_ingest.segments import Box
from lookalike_ingest.steps.step import JobFailedError

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller")
PICTURE = Content(Modality.IMAGE, b"picture")
OPTIONS = ImageOptions("encoders/d", min_score=0.5)
CAT = FoundObject("cat", 0.9, Box(0, 0, 1, 1))


async def test_a_thread_gets_an_answer_in_the_context_of_the_batch() -> None:
    CALLER.set("tenant")
    calls = LoopCalls()

    async def answer() -> str:
        await asyncio.sleep(0)
        return CALLER.get()

    async def work() -> str:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            return await loop.run_in_executor(threads, calls.call, answer)

    CALLER.set("another")
    assert await calls.during(work()) == "tenant"
    with pytest.raises(CallCancelledError):
        calls.call(answer)


async def test_a_cancelled_batch_frees_its_threads() -> None:
    asked, calls = asyncio.Event(), LoopCalls()
    freed: list[BaseException | None] = []

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            waiting = loop.run_in_executor(threads, calls.call, never)
            try:
                await asyncio.shield(waiting)
            finally:  # as the pipeline does, which waits for its threads
                freed.extend(await asyncio.gather(waiting, return_exceptions=True))

    batch = asyncio.create_task(calls.during(work()))
    await asked.wait()
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert isinstance(freed[0], CallCancelledError)


class Detector:
    """An encoder that answers as it was told to, one after the other."""

    def __init__(self, *answers: Exception | list[FoundObject]) -> None:
        self.answers = list(answers)
        self.described = 0

    async def describe(self, _encoder: str, *, fresh: bool = False) -> EncoderFacts:
        self.described += fresh
        return EncoderFacts(frozenset(), 1, fingerprint="f" * 64)

    async def encode(self, _encoder: str, _fingerprint: str, _contents: object) -> list[bytes]:
        return []

    async def detect(
        self, encoder: str, picture: Content, *, min_score: float
    ) -> list[FoundObject]:
        assert (encoder, picture, min_score) == ("encoders/d", PICTURE, 0.5)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def find(detector: Detector, waits: list[str]) -> object:
    async def on_wait(reason: str) -> None:
        waits.append(reason)

    async def on_resume() -> None:
        waits.append("")

    calls = LoopCalls()
    patience = Patience(Backoff(first=Backoff().first / 100), on_wait=on_wait, on_resume=on_resume)
    facts = {"encoders/d": await detector.describe("encoders/d")}
    finder = ObjectFinder(detector, patience, calls, facts)
    assert finder.identity(OPTIONS) == f"{'f' * 64}>0.5"
    assert finder.identity(ImageOptions()) == ""

    async def work() -> object:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            return await loop.run_in_executor(threads, finder.find, PICTURE, OPTIONS)

    return await calls.during(work())


async def test_a_detector_that_is_away_is_waited_for() -> None:
    away = BackendUnavailableError("away")
    waits: list[str] = []
    assert await find(Detector(away, away, away, [CAT]), waits) == [CAT]
    assert "encoder: away" in waits
    assert waits[-1] == ""


async def test_a_picture_that_the_detector_refuses_fails_alone() -> None:
    with pytest.raises(InvalidContentError):
        await find(Detector(InvalidContentError("damaged")), [])


async def test_a_picture_over_which_the_detector_is_lost_each_time_is_given_up() -> None:
    lost = [BackendUnavailableError("gone")] * 5
    with pytest.raises(BackendUnavailableError):
        await find(Detector(*lost), [])


async def test_a_detector_that_does_not_exist_ends_the_job() -> None:
    with pytest.raises(JobFailedError):
        await find(Detector(NotFoundError("no such encoder")), [])


def test_detectors_are_those_of_pictures_and_frames() -> None:
    frames = VideoOptions(frames=ImageOptions("encoders/frames"))
    options = SplitterOptions(image=OPTIONS, video=frames)
    assert detectors_of(options) == {"encoders/d", "encoders/frames"}
    assert detectors_of(SplitterOptions()) == frozenset()
