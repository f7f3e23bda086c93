"""From a wave to what a model for sound takes: windows of a spectrogram.

All of it is relative to the loudest moment of a sound, so that a quieter copy is the same sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike_encoder.session import InferenceSession, Runtime
from lookalike_media import Samples

SAMPLE_RATE = 16_000
"""What every front end here takes."""

Windows = NDArray[np.float32]
"""float32 [windows, ...]: what the model takes, overlapping views of one spectrogram."""

_STEP = 160
"""Samples from one frame of a spectrogram to the next: 10 ms."""


class FrontEnd(Protocol):
    """What comes before a model. Called from several threads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one window."""

    def windows(self, samples: Samples) -> Windows:
        """Cut a sound, whose peak is 1, into windows; its end is filled up with silence."""


class SpeechFrontEnd:
    """The spectrogram of Google's speech embedding, itself a model: [n, 76, 32, 1].

    It measures loudness in decibels and cuts off what lies 80 dB below the loudest frame of its
    input, so every sound goes through it alone.
    """

    _FRAME, _FRAMES, _BANDS = 512, 76, 32
    _INT16_PEAK = np.float32(32767)
    shape = (_FRAMES, _BANDS, 1)

    def __init__(self, session: InferenceSession, hop: int) -> None:
        self._session = session
        self._turn = Lock()  # a session runs in one thread at a time
        self._hop = hop

    def windows(self, samples: Samples) -> Windows:
        """Run the model for the spectrogram and cut what it makes."""
        wave = _fill(samples, self._FRAME, self._FRAMES, self._hop) * self._INT16_PEAK
        with self._turn:
            (decibels,) = self._session.run({"input": wave[np.newaxis]}, ["output"])
        frames = decibels.reshape(-1, self._BANDS).astype(np.float32, copy=False)
        return _cut(frames / np.float32(10) + np.float32(2), self._FRAMES, self._hop)[..., None]


class LogMelFrontEnd:
    """The spectrogram of YAMNet: [n, 1, 96, 64], logarithms of magnitudes in 64 mel bands."""

    _FRAME, _FRAMES, _BANDS, _FFT = 400, 96, 64, 512
    _LOWEST, _HIGHEST = 125.0, 7500.0
    _FLOOR = np.float32(1e-3)
    shape = (1, _FRAMES, _BANDS)

    def __init__(self, hop: int) -> None:
        self._hop = hop
        phase = 2 * np.pi * np.arange(self._FRAME) / self._FRAME
        self._taper = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        self._bands = mel_bands(self._FFT, self._BANDS, self._LOWEST, self._HIGHEST)

    def windows(self, samples: Samples) -> Windows:
        """Make the spectrogram and cut it."""
        wave = _fill(samples, self._FRAME, self._FRAMES, self._hop)
        pieces = np.lib.stride_tricks.sliding_window_view(wave, self._FRAME)[::_STEP]
        magnitudes = np.abs(np.fft.rfft(pieces * self._taper, self._FFT)).astype(np.float32)
        frames = np.log(magnitudes @ self._bands + self._FLOOR)
        return _cut(frames, self._FRAMES, self._hop)[:, None]


def open_front_end(kind: str, hop: int, files: Mapping[str, Path], runtime: Runtime) -> FrontEnd:
    """Make the front end that a manifest names."""
    if kind == "speech":
        return SpeechFrontEnd(runtime.open_session(files["spectrogram"]), hop)
    return LogMelFrontEnd(hop)


def mel_bands(fft: int, bands: int, lowest: float, highest: float) -> NDArray[np.float32]:
    """Make triangles that are of equal width on HTK's mel scale: float32 [fft / 2 + 1, bands]."""
    edges = np.linspace(_mel(np.array(lowest)), _mel(np.array(highest)), bands + 2)
    places = _mel(np.arange(fft // 2 + 1) * SAMPLE_RATE / fft)[:, np.newaxis]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0), np.float64)


def _fill(samples: Samples, frame: int, frames: int, hop: int) -> Samples:
    """Append silence until the last window is full, so that no sample is left out."""
    needed = 1 + max(0, -(-(len(samples) - frame) // _STEP))
    whole = frames + hop * max(0, -(-(needed - frames) // hop))
    return np.pad(samples, (0, max(0, frame + (whole - 1) * _STEP - len(samples))))


def _cut(frames: NDArray[np.float32], length: int, hop: int) -> Windows:
    """Return overlapping views: [frames, bands] → [windows, length, bands]."""
    views = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)[::hop]
    return views.transpose(0, 2, 1)
