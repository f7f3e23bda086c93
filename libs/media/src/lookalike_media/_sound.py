"""Sound files and raw samples into one channel at the rate asked for, within limits.

Everything passes through in blocks, so that memory is bounded by what comes out, whatever a header
declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import InvalidContentError
from lookalike_media._sndfile import FAILURES, Blocks, Resampler, SoundReader
from lookalike_media._sound_header import (
    AudioHeader,
    AudioLimits,
    check_bytes,
    check_shape,
    open_sound,
)

_BLOCK_SAMPLES = 1 << 18
_INT16_SCALE = np.float32(1 / 32768)

Samples = NDArray[np.float32]
"""float32 [frames]: one channel, full scale at -1 and 1."""


class SampleFormat(Enum):
    """What one sample of raw sound is, little-endian; the value is numpy's name for it."""

    S16 = "<i2"
    F32 = "<f4"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound of one channel."""

    samples: Samples
    """float32 [frames], full scale at -1 and 1; floats of a file may reach beyond."""
    sample_rate: int
    """Samples a second."""

    @property
    def duration(self) -> timedelta:
        """Return how long it is."""
        return timedelta(seconds=len(self.samples) / self.sample_rate)


def decode_audio(data: bytes, limits: AudioLimits | None = None, *, sample_rate: int) -> Sound:
    """Decode a sound file, average its channels and bring it to a rate.

    Raises InvalidContentError (empty, damaged, truncated, not a number), UnsupportedMediaError (no
    sound that can be read here) or LimitExceededError. An OGG or MP3 that breaks off cannot be
    told from a short one: what is there is decoded.
    """
    limits = limits or AudioLimits()
    with open_sound(data, limits) as (header, reader):
        return _gather(_read(header, reader, limits), header.sample_rate, sample_rate)


def raw_audio(
    data: bytes,
    source_rate: int,
    channels: int,
    sample_format: SampleFormat = SampleFormat.S16,
    limits: AudioLimits | None = None,
    *,
    sample_rate: int,
) -> Sound:
    """Average the channels of interleaved samples and bring them to a rate.

    Raises InvalidContentError (empty, not whole frames, not a number), UnsupportedMediaError (a
    rate that no sound has) or LimitExceededError.
    """
    limits = limits or AudioLimits()
    check_bytes(data, limits)
    check_shape(source_rate, channels, 0, limits)
    width = channels * np.dtype(sample_format.value).itemsize
    if len(data) % width:
        raise InvalidContentError(
            f"{channels} channels of {sample_format.name} have {width} bytes a frame; "
            f"{len(data)} bytes are not whole frames"
        )
    check_shape(source_rate, channels, len(data) // width, limits)
    stored = np.frombuffer(data, sample_format.value).reshape(-1, channels)
    return _gather(_cut(stored), source_rate, sample_rate)


def _read(header: AudioHeader, reader: SoundReader, limits: AudioLimits) -> Iterator[Blocks]:
    """Decode block by block; the frames that come are counted, not those that are declared."""
    size = max(1, _BLOCK_SAMPLES // header.channels)
    frames = 0
    while True:
        try:
            block = reader.read(size)
        except FAILURES as error:
            raise InvalidContentError(f"the {header.format} is damaged") from error
        if not len(block):
            break
        frames += len(block)
        check_shape(header.sample_rate, header.channels, frames, limits)
        yield block
    if header.format == "FLAC" and frames < header.frames:
        raise InvalidContentError(
            f"the FLAC declares {header.frames} frames; {frames} can be decoded"
        )


def _cut(stored: NDArray[np.int16] | NDArray[np.float32]) -> Iterator[Blocks]:
    size = max(1, _BLOCK_SAMPLES // stored.shape[1])
    for start in range(0, len(stored), size):
        block = stored[start : start + size]
        scale = _INT16_SCALE if block.dtype.kind == "i" else np.float32(1)
        yield block.astype(np.float32) * scale


def _gather(blocks: Iterable[Blocks], source_rate: int, sample_rate: int) -> Sound:
    resampler = Resampler(source_rate, sample_rate)
    pieces = [resampler.resample(_mix(block), last=False) for block in blocks]
    if not pieces:
        raise InvalidContentError("the sound has no samples")
    pieces.append(resampler.resample(np.empty(0, np.float32), last=True))
    samples = np.concatenate(pieces)
    if not np.isfinite(samples).all():
        raise InvalidContentError("the sound has samples that are not finite numbers")
    return Sound(samples, sample_rate)


def _mix(block: Blocks) -> Samples:
    """Average the channels; what overflows here is refused at the end."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(block.mean(axis=1, dtype=np.float32))
