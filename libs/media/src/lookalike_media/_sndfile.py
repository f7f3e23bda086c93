"""The only import of libsndfile and soxr: opens sound in memory and changes its rate."""

from __future__ import annotations

import os
from io import BytesIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

FAILURES = (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError)
"""What a damaged file makes `soundfile` raise."""

Blocks = NDArray[np.float32]
"""float32 [frames, channels]."""


class SoundReader:
    """A sound file that is open; raises one of `FAILURES` if it cannot be opened."""

    def __init__(self, data: bytes) -> None:
        self._file = soundfile.SoundFile(_Bytes(data))

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    @property
    def coding(self) -> str:
        """How samples are stored, in libsndfile's words: `PCM_16`, `VORBIS`."""
        return str(self._file.subtype)

    @property
    def sample_rate(self) -> int:
        """Frames a second."""
        return int(self._file.samplerate)

    @property
    def channels(self) -> int:
        """Samples of one frame."""
        return int(self._file.channels)

    @property
    def frames(self) -> int:
        """Frames that the file declares."""
        return int(self._file.frames)

    def read(self, frames: int) -> Blocks:
        """Decode what comes next, fewer frames or none at the end; raises one of `FAILURES`."""
        return np.asarray(self._file.read(frames, dtype="float32", always_2d=True))


class Resampler:
    """Changes the rate of one channel, piece by piece."""

    def __init__(self, source_rate: int, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(source_rate, sample_rate, 1, "float32", "HQ")
        self._same = source_rate == sample_rate

    def resample(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Take a piece and return what is ready: float32 [samples]."""
        if self._same:
            return samples
        return np.asarray(self._stream.resample_chunk(samples, last=last), np.float32)


class _Bytes(BytesIO):
    """Bytes in which a damaged file may seek anywhere: Python must not raise inside libsndfile."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._size = len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        return super().seek(min(max(0, start + offset), self._size))
