"""Every kind of sound that callers send, and every way in which one can be broken."""

import tracemalloc
from datetime import timedelta
from io import BytesIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_media import AudioLimits, SampleFormat, decode_audio, probe_audio, raw_audio

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = 22_050, channels: int = 1) -> NDArray[np.float32]:
    time = np.arange(round(seconds * rate)) / rate
    sides = [0.5 * np.sin(2 * np.pi * 440 * (side + 1) * time) for side in range(channels)]
    return np.stack(sides, axis=1).astype(np.float32)


def encoded(
    samples: NDArray[np.float32], file_format: str, coding: str, rate: int = 22_050
) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, format=file_format, subtype=coding)
    return buffer.getvalue()


def loudest_pitch(samples: NDArray[np.float32]) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


@pytest.mark.parametrize(
    ("file_format", "coding"),
    [
        *(("WAV", coding) for coding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")),
        *(("WAV", coding) for coding in ("DOUBLE", "ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM")),
        *(("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS")),
        *(("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AIFF", "PCM_S8")),
    ],
)
def test_formats_decode_to_one_channel_at_the_rate_asked_for(file_format: str, coding: str) -> None:
    data = encoded(tone(), file_format, coding)
    header = probe_audio(data)
    assert header.format == file_format.removesuffix("EX")
    assert (header.coding, header.sample_rate, header.channels) == (coding, 22_050, 1)
    assert header.duration.total_seconds() == pytest.approx(1, abs=0.02)
    sound = decode_audio(data, sample_rate=RATE)
    assert sound.samples.dtype == np.float32
    assert sound.samples.shape == pytest.approx((RATE,), abs=350)
    assert loudest_pitch(sound.samples) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples).max() == pytest.approx(0.5, abs=0.06)


def test_opus_decodes() -> None:
    sound = decode_audio(encoded(tone(rate=48_000), "OGG", "OPUS", 48_000), sample_rate=RATE)
    assert loudest_pitch(sound.samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 16_000, 44_100, 96_000, 192_000])
def test_any_rate_becomes_the_one_asked_for(rate: int) -> None:
    sound = decode_audio(encoded(tone(rate=rate), "WAV", "PCM_16", rate), sample_rate=RATE)
    assert len(sound.samples) == pytest.approx(RATE, abs=2)
    assert sound.duration.total_seconds() == pytest.approx(1, abs=0.001)
    assert loudest_pitch(sound.samples) == pytest.approx(440, abs=2)


def test_channels_are_averaged() -> None:
    samples = tone(rate=RATE, channels=2)
    sound = decode_audio(encoded(samples, "WAV", "FLOAT", RATE), sample_rate=RATE)
    np.testing.assert_allclose(sound.samples, samples.mean(axis=1), atol=1e-6)


def test_pieces_join_without_a_seam() -> None:
    samples = tone(40, 44_100, 2)  # several blocks
    sound = decode_audio(encoded(samples, "FLAC", "PCM_16", 44_100), sample_rate=RATE)
    expected = tone(40, RATE, 2).mean(axis=1)
    middle = slice(RATE, -RATE)
    np.testing.assert_allclose(sound.samples[middle], expected[middle], atol=1e-3)


@pytest.mark.parametrize(
    ("sample_format", "scale"), [(SampleFormat.S16, 32768), (SampleFormat.F32, 1)]
)
def test_raw_samples(sample_format: SampleFormat, scale: int) -> None:
    samples = tone(rate=RATE, channels=2)
    data = (samples * scale).astype(sample_format.value).tobytes()
    sound = raw_audio(data, RATE, 2, sample_format, sample_rate=RATE)
    np.testing.assert_allclose(sound.samples, samples.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("data", "rate", "channels", "error"),
    [
        (b"", RATE, 1, InvalidContentError),
        (b"123", RATE, 1, InvalidContentError),
        (bytes(6), RATE, 2, InvalidContentError),
        (bytes(8), 0, 1, UnsupportedMediaError),
        (bytes(8), -RATE, 1, UnsupportedMediaError),
        (bytes(8), 1 << 31, 1, UnsupportedMediaError),
        (bytes(8), RATE, 0, LimitExceededError),
        (bytes(8), RATE, 1 << 31, LimitExceededError),
        (bytes(2 * 4_001 * 2), 4_000, 1, LimitExceededError),
    ],
)
def test_raw_samples_that_cannot_be(
    data: bytes, rate: int, channels: int, error: type[LookalikeError]
) -> None:
    limits = AudioLimits(max_duration=timedelta(seconds=2))
    with pytest.raises(error):
        raw_audio(data, rate, channels, SampleFormat.S16, limits, sample_rate=RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    samples = tone(rate=RATE, channels=2)
    samples[100] = value
    raw = samples.astype("<f4").tobytes()
    with pytest.raises(InvalidContentError, match="finite"):
        raw_audio(raw, RATE, 2, SampleFormat.F32, sample_rate=RATE)
    with pytest.raises(InvalidContentError, match="finite"):
        decode_audio(encoded(samples, "WAV", "FLOAT"), sample_rate=RATE)


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "FLAC"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.99])
def test_truncated_files_are_refused(file_format: str, part: float) -> None:
    noise = np.random.default_rng(1).normal(scale=0.1, size=RATE).astype(np.float32)
    data = encoded(noise, file_format, "PCM_16")
    with pytest.raises(InvalidContentError):
        decode_audio(data[: int(len(data) * part)], sample_rate=RATE)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidContentError),
        (b"RIFF\0\0\0\0WAVE", InvalidContentError),
        (b"fLaC", InvalidContentError),
        (b"OggS" + bytes(100), InvalidContentError),
        (b"ID3" + bytes(100), InvalidContentError),
        (b"FORM\0\0\0\0AIFF", InvalidContentError),
        (b"this is text", UnsupportedMediaError),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), UnsupportedMediaError),
        (b"\xff", UnsupportedMediaError),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, error: type[LookalikeError]) -> None:
    with pytest.raises(error):
        probe_audio(data)


def test_a_sound_without_samples_is_refused() -> None:
    with pytest.raises(InvalidContentError):
        decode_audio(encoded(np.empty((0, 1), np.float32), "WAV", "PCM_16"), sample_rate=RATE)


def test_limits() -> None:
    data = encoded(tone(2), "OGG", "VORBIS")
    with pytest.raises(LimitExceededError, match=r"lasts 2\.0 s; at most 1\.5 s"):
        probe_audio(data, AudioLimits(max_duration=timedelta(seconds=1.5)))
    with pytest.raises(LimitExceededError, match="bytes"):
        probe_audio(data, AudioLimits(max_bytes=100))
    with pytest.raises(LimitExceededError, match="channels"):
        probe_audio(encoded(tone(channels=3), "WAV", "PCM_16"), AudioLimits(max_channels=2))


def test_a_wav_that_declares_hours_is_refused() -> None:
    data = bytearray(encoded(tone(rate=RATE), "WAV", "PCM_16", RATE))
    place = data.index(b"data") + 4
    data[place : place + 4] = (3 * 3600 * RATE * 2).to_bytes(4, "little")
    with pytest.raises(InvalidContentError, match="declares"):
        probe_audio(bytes(data))


def test_a_wav_from_a_pipe_declares_no_size() -> None:
    data = bytearray(encoded(tone(rate=RATE), "WAV", "PCM_16", RATE))
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff\xff\xff\xff"
    assert len(decode_audio(bytes(data), sample_rate=RATE).samples) == RATE


def test_a_wav_of_millions_of_chunks_is_refused_at_once() -> None:
    with pytest.raises(InvalidContentError, match="too much else"):
        probe_audio(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 2_000_000)


def flac_declaring(data: bytes, frames: int) -> bytes:
    """Change the 36 bits of FLAC's header that count frames."""
    changed = bytearray(data)
    block = int.from_bytes(changed[18:26], "big") & ~((1 << 36) - 1)
    changed[18:26] = (block | frames).to_bytes(8, "big")
    return bytes(changed)


def test_a_flac_that_declares_hours_is_refused() -> None:
    data = encoded(tone(rate=RATE), "FLAC", "PCM_16", RATE)
    with pytest.raises(LimitExceededError, match="lasts 10800"):
        probe_audio(flac_declaring(data, 3 * 3600 * RATE))
    with pytest.raises(InvalidContentError):
        decode_audio(flac_declaring(data, 60 * RATE), sample_rate=RATE)


def test_what_is_declared_too_short_is_still_bounded() -> None:
    silence = np.zeros((600 * RATE, 1), np.float32)
    data = encoded(silence, "FLAC", "PCM_16", RATE)
    assert len(data) < 200_000  # a bomb: ten minutes in few bytes
    limits = AudioLimits(max_duration=timedelta(seconds=60))
    tracemalloc.start()
    for lie in (0, RATE):
        try:
            sound = decode_audio(flac_declaring(data, lie), limits, sample_rate=RATE)
        except (InvalidContentError, LimitExceededError):
            continue
        assert len(sound.samples) <= 60 * RATE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000  # a minute is 3.8 MB
