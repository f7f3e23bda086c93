"""Windows of sound: where they lie, what is in them, and what is left out."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_ingest.decode_tasks import audio
from lookalike_ingest.decoding import TIME, DecodeLimits, Facts
from lookalike_media import decode_audio
from tests.support.media import Samples, moving, picture, silence, sound, tone, video, wav
from tests.support.real_data import sounds

RATE = 16_000
CUT: dict[str, Any] = {
    "rate": RATE,
    "window": 1.0,
    "hop": 0.5,
    "shortest": 0.1,
    "quiet": -60.0,
    "keep_quiet": False,
    "optional": False,
}
MINUTE = DecodeLimits(max_duration=timedelta(minutes=1))
Window = tuple[float, float, Samples]


def cut(
    data: bytes, media_type: str = "audio/wav", limits: DecodeLimits = MINUTE, **arguments: Any
) -> tuple[Facts, list[Window]]:
    found = audio.run(io.BytesIO(data), {**CUT, "format": media_type, **arguments}, limits)
    about, *windows = [each for each in found if each is not None]
    return about[0], [
        (float(str(facts["start"])), float(str(facts["end"])), np.frombuffer(data, np.int16))
        for facts, data in windows
    ]


def spans(windows: list[Window]) -> list[tuple[float, float]]:
    return [(round(start, 2), round(end, 2)) for start, end, _ in windows]


def pitch(samples: Samples) -> float:
    """Return the loudest frequency, in hertz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


@pytest.mark.parametrize(
    ("container", "codec", "rate", "media_type", "named"),
    [
        ("wav", "pcm_s16le", 44100, "audio/wav", "pcm_s16le"),
        ("aiff", "pcm_s16be", 8000, "audio/aiff", "pcm_s16be"),
        ("flac", "flac", 96000, "audio/flac", "flac"),
        ("mp3", "mp3", 44100, "audio/mpeg", "mp3"),
        ("adts", "aac", 44100, "audio/aac", "aac"),
        ("ipod", "aac", 48000, "audio/mp4", "aac"),
        ("ogg", "libopus", 48000, "audio/ogg", "opus"),
        ("matroska", "aac", 44100, "video/x-matroska", "aac"),
        ("mpegts", "aac", 44100, "video/mp2t", "aac"),
    ],
)
def test_every_format_becomes_the_same_windows(
    container: str, codec: str, rate: int, media_type: str, named: str
) -> None:
    data = sound(tone(2.3, 600, rate=rate), container, codec, rate=rate, channels=2)
    about, windows = cut(data, media_type)
    assert (about["codec"], about["channels"], about["sample_rate"]) == (named, 2, rate)
    assert about["duration"] == pytest.approx(2.3, abs=0.1)
    assert spans(windows)[:3] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert windows[-1][1] == pytest.approx(2.3, abs=0.1), "the end is in a window"
    for start, end, samples in windows:
        assert len(samples) == pytest.approx((end - start) * RATE, abs=1)
        assert pitch(samples[RATE // 4 :]) == pytest.approx(600, abs=5)
        middle = samples[RATE // 4 : RATE // 2].astype(np.float64)
        assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 * 32767 / 2**0.5, rel=0.1)


def test_a_window_holds_what_sounds_at_its_time() -> None:
    data = sound(np.concatenate([tone(1, 300), tone(1, 900), tone(1, 2700)]))
    _, windows = cut(data, window=1.0, hop=1.0)
    assert spans(windows) == [(0, 1), (1, 2), (2, 3)]
    assert [round(pitch(samples)) for _, _, samples in windows] == [300, 900, 2700]


@pytest.mark.parametrize(
    ("seconds", "arguments", "expected"),
    [
        (3.3, {"hop": 1.0, "shortest": 0.5}, [(0, 1), (1, 2), (2, 3), (2.8, 3.3)]),
        (3.3, {"hop": 1.5}, [(0, 1), (1.5, 2.5), (3, 3.3)]),
        (3.0, {"hop": 1.0}, [(0, 1), (1, 2), (2, 3)]),
        (2.5, {"hop": 2.0}, [(0, 1), (2, 2.5)]),
        (0.4, {}, [(0, 0.4)]),
        (1.0, {}, [(0, 1)]),
        (0.02, {}, [(0, 0.02)]),
    ],
)
def test_where_windows_lie(
    seconds: float, arguments: dict[str, Any], expected: list[tuple[float, float]]
) -> None:
    data = sound(tone(seconds, rate=RATE), rate=RATE)
    assert spans(cut(data, **arguments)[1]) == expected


def test_silence_is_left_out() -> None:
    quiet = tone(1, loudness=0.0005)
    data = sound(np.concatenate([silence(1.1), tone(0.9), quiet, silence(2)]))
    assert spans(cut(data, hop=1.0)[1]) == [(1, 2)]
    assert spans(cut(data, hop=1.0, quiet=-80.0)[1]) == [(1, 2), (2, 3)]
    kept = spans(cut(data, hop=1.0, quiet=-20.0, keep_quiet=True)[1])
    assert kept == [(1, 2), (2, 3)], "digital silence is of no use to anybody"
    click = np.concatenate([silence(0.5), tone(0.05, loudness=0.01), silence(9)])
    assert spans(cut(sound(click), window=10, hop=5)[1]) == [(0, 9.55)]


@pytest.mark.parametrize("keep", [False, True])
def test_a_silent_sound_is_refused(keep: bool) -> None:
    with pytest.raises(InvalidContentError, match="silent"):
        cut(sound(silence(2)), keep_quiet=keep)


def test_an_optional_sound_may_be_silent_or_missing() -> None:
    about, windows = cut(sound(silence(2)), optional=True)
    assert (about["duration"], windows) == (2.0, [])
    pictures = video(moving(picture(1), 10))
    with pytest.raises(UnsupportedMediaError, match="no sound in it"):
        cut(pictures, "video/mp4")
    request = {**CUT, "format": "video/mp4", "optional": True}
    assert list(audio.run(io.BytesIO(pictures), request, MINUTE)) == []


def test_real_sounds_are_heard_as_the_encoder_hears_them() -> None:
    """The encoder decodes by other libraries (libsndfile, soxr), whose filters end more steeply."""
    for path in sounds()[::8]:
        data = path.read_bytes()
        _, windows = cut(data, "audio/flac", DecodeLimits(), window=60.0, hop=30.0)
        heard = decode_audio(data, sample_rate=RATE).samples
        (_, end, samples) = windows[0]
        assert end == pytest.approx(len(heard) / RATE, abs=0.01)
        length = min(len(samples), len(heard))
        other = heard[:length] * 32768
        error = samples[:length] - other
        assert (error**2).mean() < 0.06 * (other**2).mean() + 4, path.name


WAV = wav(tone(3))
FLAC = sound(tone(3), "flac", "flac")
MKA = sound(tone(6), "matroska", "aac")
AAC = sound(tone(3), "adts", "aac")
M4A = sound(tone(3), "ipod", "aac")


@pytest.mark.parametrize(
    ("data", "media_type", "error", "words"),
    [
        (b"", "audio/wav", InvalidContentError, "header"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav", InvalidContentError, "header"),
        (WAV[: len(WAV) // 2], "audio/wav", InvalidContentError, "declares 264600 bytes"),
        (WAV[:44], "audio/wav", InvalidContentError, "declares"),
        (M4A[: len(M4A) // 2], "audio/mp4", InvalidContentError, "header"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "audio/mpeg", InvalidContentError, "header"),
        (
            b"#EXTM3U\nfile:///etc/passwd\n",
            "application/x-mpegurl",
            UnsupportedMediaError,
            "no sound",
        ),
        (WAV, "application/octet-stream", UnsupportedMediaError, "no sound or video"),
        (WAV[:22] + b"\x40\0" + WAV[24:], "audio/wav", LimitExceededError, "64 channels"),
        (WAV[:24] + b"\xb8\x0b\0\0" + WAV[28:], "audio/wav", UnsupportedMediaError, "3000 samples"),
        (WAV[:20] + b"\x22\0" + WAV[22:], "audio/wav", UnsupportedMediaError, "truespeech"),
        (sound(silence(61)), "audio/wav", LimitExceededError, "lasts 61.0 s; at most 60.0 s"),
    ],
)
def test_what_is_no_sound(
    data: bytes, media_type: str, error: type[LookalikeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        cut(data, media_type)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (FLAC[: len(FLAC) // 2], "audio/flac"),
        (MKA[: len(MKA) // 2], "video/x-matroska"),
        (AAC[: len(AAC) // 2], "audio/aac"),
        (AAC[:20000] + b"\xff" * 400 + AAC[20400:], "audio/aac"),
    ],
)
def test_damage_is_told_with_its_time(data: bytes, media_type: str) -> None:
    with pytest.raises(InvalidContentError) as raised:
        cut(data, media_type)
    assert 0.0 < float(raised.value.metadata[TIME]) < 3.1


def test_a_header_that_lies_about_its_length_is_not_believed() -> None:
    """10 hours by its header, 3 s by its samples; and none by its header, 61 s by its samples."""
    hours = bytearray(WAV)
    hours[40:44] = (10 * 3600 * 44100 * 2).to_bytes(4, "little")
    with pytest.raises(InvalidContentError, match="declares 3175200000 bytes"):
        cut(bytes(hours))
    streamed = bytearray(wav(tone(61)))
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    with pytest.raises(LimitExceededError, match=r"at most 60\.0 s"):
        cut(bytes(streamed))
