"""Damaged sounds and videos, hundreds of them: each is read or refused, and none takes forever."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO

import pytest

from lookalike_common.errors import LookalikeError
from lookalike_ingest.adapters.decode_pool import DecodePool, ProcessLimits
from lookalike_ingest.decoding import DecodeLimits
from tests.support.media import moving, picture, sound, tone, video, wav

ROUNDS = 400
AUDIO: dict[str, Any] = {
    "rate": 16000,
    "window": 1.0,
    "hop": 0.5,
    "shortest": 0.1,
    "quiet": -60.0,
    "keep_quiet": False,
    "optional": False,
}
VIDEO: dict[str, Any] = {"edge": 640, "interval": 0.0, "optional": False}


@dataclass
class Damaged:
    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    limits = ProcessLimits(cpu_time=timedelta(seconds=20), silence=timedelta(seconds=30))
    pool = DecodePool(limits, DecodeLimits(max_duration=timedelta(minutes=1)))
    yield pool
    pool.close()


def damage(data: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 3, 10, 50])):
        place = chance.randrange(min(len(damaged), chance.choice([200, 2000, len(damaged)])))
        length = chance.choice([1, 1, 4, 16])
        damaged[place : place + length] = chance.randbytes(length)
    if chance.random() < 0.2:
        del damaged[chance.randrange(len(damaged)) :]
    return bytes(damaged)


def test_whatever_is_damaged_is_read_or_refused(pool: DecodePool) -> None:
    frames = [frame for seed in range(3) for frame in moving(picture(seed), 8)]
    whole = [
        ("video", "video/mp4", video(frames, soundtrack=tone(2))),
        ("video", "video/x-matroska", video(frames, "matroska")),
        ("video", "video/x-msvideo", video(frames, "avi", "mpeg4")),
        ("video", "video/mp2t", video(frames, "mpegts")),
        ("video", "video/x-flv", video(frames, "flv", "flv")),
        ("audio", "audio/mp4", sound(tone(2), "ipod", "aac")),
        ("audio", "audio/mpeg", sound(tone(2), "mp3", "mp3")),
        ("audio", "audio/ogg", sound(tone(2, rate=48000), "ogg", "libopus", rate=48000)),
        ("audio", "audio/flac", sound(tone(2), "flac", "flac")),
        ("audio", "audio/wav", wav(tone(2))),
    ]
    ends: Counter[str] = Counter()
    for seed in range(ROUNDS):
        task, media_type, data = whole[seed % len(whole)]
        arguments = {**(AUDIO if task == "audio" else VIDEO), "format": media_type}
        try:
            found = list(pool.run(task, Damaged(damage(data, seed)), arguments))
        except LookalikeError as error:
            foreseen = "Error:" not in error.message
            ends[error.reason if foreseen else f"{seed}: {error.message}"] += 1
        else:
            assert found
            ends["read"] += 1
    assert set(ends) <= {"read", "INVALID_CONTENT", "LIMIT_EXCEEDED", "UNSUPPORTED_MEDIA"}
    assert min(ends["read"], ends["INVALID_CONTENT"]) > ROUNDS // 10
