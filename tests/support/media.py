"""Small sounds and videos made here, so that everything about them is known."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Pixels = NDArray[np.uint8]

RATE = 44_100


def tone(seconds: float, hertz: float = 440.0, loudness: float = 0.5, rate: int = RATE) -> Samples:
    """Return a sine as int16 [samples]."""
    times = np.arange(round(seconds * rate)) / rate
    return np.asarray(loudness * 32767 * np.sin(2 * np.pi * hertz * times), np.int16)


def silence(seconds: float, rate: int = RATE) -> Samples:
    """Return nothing to be heard as int16 [samples]."""
    return np.zeros(round(seconds * rate), np.int16)


def sound(
    samples: Samples,
    container: str = "wav",
    codec: str = "pcm_s16le",
    *,
    rate: int = RATE,
    channels: int = 1,
) -> bytes:
    """Return a sound file; all channels are alike."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        for packet in _sound_packets(output, samples, codec, rate=rate, channels=channels):
            output.mux(packet)
    return file.getvalue()


def wav(samples: Samples, rate: int = RATE) -> bytes:
    """Return a WAV of one channel with the plain header of 44 bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(rate)
        output.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _sound_packets(
    output: av.container.OutputContainer,
    samples: Samples,
    codec: str,
    *,
    rate: int = RATE,
    channels: int = 1,
) -> list[Any]:
    """Return a sound track for a file to which nothing has been written yet."""
    layout = {1: "mono", 2: "stereo"}[channels]
    stream = output.add_stream(codec, rate=rate, layout=layout)
    assert isinstance(stream, av.AudioStream)
    interleaved = np.repeat(samples[:, None], channels, axis=1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
    frame.sample_rate = rate
    frame.pts = 0
    return [*stream.encode(frame), *stream.encode(None)]


def picture(seed: int, width: int = 160, height: int = 120) -> Pixels:
    """Return a picture of coloured blocks, as unlike others as can be: uint8 [rows, columns, 3]."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    rows = np.arange(height) * 6 // height
    columns = np.arange(width) * 8 // width
    return np.asarray(blocks[rows][:, columns])


def black(width: int = 160, height: int = 120) -> Pixels:
    """Return nothing to be seen."""
    return np.zeros((height, width, 3), np.uint8)


def moving(first: Pixels, frames: int) -> list[Pixels]:
    """Return frames of one shot: a picture that slides slowly."""
    return [np.roll(first, number // 2, axis=1) for number in range(frames)]


def video(
    frames: Sequence[Pixels],
    container: str = "mp4",
    codec: str = "libx264",
    *,
    rate: int = 10,
    times: Sequence[float] = (),
    soundtrack: Samples | None = None,
    aspect: Fraction = Fraction(1),
) -> bytes:
    """Return a video file; frame n is shown at `times[n]` seconds, else at n / `rate`."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.time_base = Fraction(1, 1000 if times else rate)
        stream.options = {"crf": "20"} if codec == "libx264" else {}
        packets = [] if soundtrack is None else _sound_packets(output, soundtrack, "aac")
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(times[number] * 1000) if times else number
            frame.time_base = stream.codec_context.time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets:
            output.mux(packet)
    return file.getvalue()


def with_cover(samples: Samples, cover: Pixels) -> bytes:
    """Return a sound in MP4 with the cover of its album: a picture, and no film."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        packets = _sound_packets(output, samples, "aac")
        stream = output.add_stream("mjpeg", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = cover.shape[:2]
        stream.pix_fmt = "yuvj420p"
        stream.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(cover, format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode(None), *packets):
            output.mux(packet)
    return file.getvalue()
