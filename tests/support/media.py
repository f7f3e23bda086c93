"""Small sounds and videos made here, so that everything about them is known."""

from __future__ import annotations

import io
import wave

import av
import numpy as np
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
        add_sound(output, samples, codec, rate=rate, channels=channels)
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


def add_sound(
    output: av.container.OutputContainer,
    samples: Samples,
    codec: str,
    *,
    rate: int = RATE,
    channels: int = 1,
) -> None:
    """Add a sound track to a file that is being written."""
    layout = {1: "mono", 2: "stereo"}[channels]
    stream = output.add_stream(codec, rate=rate, layout=layout)
    assert isinstance(stream, av.AudioStream)
    interleaved = np.repeat(samples[:, None], channels, axis=1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
    frame.sample_rate = rate
    frame.pts = 0
    for packet in (*stream.encode(frame), *stream.encode(None)):
        output.mux(packet)
