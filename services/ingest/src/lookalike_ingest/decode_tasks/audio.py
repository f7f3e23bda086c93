"""Cuts the sound of a file into windows of one channel, and leaves out those without any sound.

Arguments: `format` (a media type), `rate` (samples a second of the windows), `window`, `hop` and
`shortest` (seconds), `quiet` (dB below full scale), `keep_quiet`, `optional`
(whether a file without sound, or with silence only, is fine). First come the facts about the
sound (`duration`, `sample_rate`, `channels`, `codec`), then a window each: `start` and `end` in
seconds, and its samples as little-endian int16. Digital silence is left out in any case, since no
encoder can make anything of it.
"""

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
from av import AudioFrame, AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_ingest.decode_tasks.media_file import (
    Clock,
    check_codec,
    check_end,
    declared_seconds,
    frames,
    opened,
)
from lookalike_ingest.decoding import DecodeLimits, Facts

_MIN_RATE, _MAX_RATE, _MAX_CHANNELS = 4_000, 384_000, 16
_BLOCK_SECONDS: Final = 0.1
"""A window is as loud as the loudest stretch of this length in it."""
_MAX_CHUNKS: Final = 1_000
_UNKNOWN_BYTES: Final = frozenset({0x7FFFFFFF, 0xFFFFFFFF})
"""What a program that writes a WAV to a pipe says of its size."""
_GAP_SECONDS: Final = 0.5
"""Where time stamps leap by more, the windows start anew behind the gap."""

Samples = NDArray[np.int16]


def run(
    file: BinaryIO, arguments: Facts, limits: DecodeLimits
) -> Iterator[tuple[Facts, bytes] | None]:
    """Yield facts, then windows. Raises UnsupportedMediaError for a file without sound."""
    cutter, optional = _Cutter(arguments), bool(arguments["optional"])
    if arguments["format"] == "audio/wav":
        _check_wav(file)
    with opened(file, str(arguments["format"]), limits) as container:
        stream = _sound_of(container)
        if stream is None and optional:
            return
        if stream is None:
            raise UnsupportedMediaError("there is no sound in it")
        _check(stream)
        yield _about(container, stream), b""
        clock = Clock(container, limits)
        end = 0.0
        for start, samples in _resampled(container, stream, clock, cutter.rate):
            end = start + len(samples) / cutter.rate
            yield from cutter.add(start, samples)
            yield None
        yield from cutter.finish()
        check_end(container, stream, end)
    if not end and not optional:
        raise InvalidContentError("there is no sound in it")
    if not cutter.found and not optional:
        raise InvalidContentError("the sound is silent")


def _sound_of(container: InputContainer) -> AudioStream | None:
    stream = container.streams.best("audio")
    return stream if isinstance(stream, AudioStream) else None


def _check(stream: AudioStream) -> None:
    check_codec(stream)
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise UnsupportedMediaError(
            f"it has {rate} samples a second; {_MIN_RATE} to {_MAX_RATE} can be read"
        )
    if not 1 <= channels <= _MAX_CHANNELS:
        raise LimitExceededError(f"it has {channels} channels; 1 to {_MAX_CHANNELS} are allowed")


def _check_wav(file: BinaryIO) -> None:
    """Refuse a WAV whose samples are cut off: FFmpeg would read what is left."""
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        declared = int.from_bytes(head[4:], "little")
        left = size - file.tell()
        if head[:4] == b"data" and declared > left and declared not in _UNKNOWN_BYTES:
            raise InvalidContentError(
                f"the WAV declares {declared} bytes of samples; {left} are there"
            )
        file.seek(declared + declared % 2, os.SEEK_CUR)
    file.seek(0)


def _about(container: InputContainer, stream: AudioStream) -> Facts:
    return {
        "duration": round(declared_seconds(container), 3),
        "sample_rate": stream.codec_context.sample_rate,
        "channels": stream.codec_context.channels,
        "codec": check_codec(stream),
    }


def _resampled(
    container: InputContainer, stream: AudioStream, clock: Clock, rate: int
) -> Iterator[tuple[float, Samples]]:
    """Yield mono samples with the time of the first one of each block."""
    resampler = AudioResampler(format="s16", layout="mono", rate=rate)
    now = 0.0  # where the next block begins, if it follows the last one
    for frame in frames(container, stream, clock):
        if not isinstance(frame, AudioFrame) or not frame.samples:
            continue
        start = clock.read(frame, now)
        now = start if abs(start - now) > _GAP_SECONDS else now
        frame.pts = None  # or the resampler would fill gaps by itself
        for block in resampler.resample(frame):
            samples = block.to_ndarray().reshape(-1).astype(np.int16, copy=False)
            yield now, samples
            now += len(samples) / rate
    for block in resampler.resample(None):
        yield now, block.to_ndarray().reshape(-1).astype(np.int16, copy=False)


class _Cutter:
    """Makes windows of a stream of samples; holds two windows at most."""

    def __init__(self, arguments: Facts) -> None:
        self.rate = int(str(arguments["rate"]))
        self.found = 0
        """Windows that were worth handing over."""
        self._window = self._count(arguments["window"])
        self._hop = self._count(arguments["hop"])
        self._shortest = min(self._count(arguments["shortest"]), self._window)
        self._quiet = 32768.0 * 10.0 ** (float(str(arguments["quiet"])) / 20.0)
        self._keep_quiet = bool(arguments["keep_quiet"])
        self._begin(0.0)

    def add(self, start: float, samples: Samples) -> Iterator[tuple[Facts, bytes]]:
        """Yield the windows that are complete with these samples."""
        if abs(start - self._next) > _GAP_SECONDS:
            yield from self.finish()
            self._begin(start)
        self._next += len(samples) / self.rate
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        self._fresh += len(samples) - skipped
        self._held.append(samples[skipped:])
        while sum(map(len, self._held)) >= self._window:
            yield from self._cut(np.concatenate(self._held))

    def finish(self) -> Iterator[tuple[Facts, bytes]]:
        """Yield what no window has had yet, made longer by what was before where it is short."""
        if not self._fresh:
            return
        rest = np.concatenate([self._before, *self._held])
        length = max(len(rest) - len(self._before), self._shortest)
        start = max(0.0, self._next - min(length, len(rest)) / self.rate)
        yield from self._hand_over(start, rest[-length:])

    def _begin(self, start: float) -> None:
        self._held: list[Samples] = []
        self._start = self._next = start  # of the held samples, and of those to come
        self._skip = 0  # samples to leave out, where windows lie apart
        self._fresh = 0  # held samples that no window has had
        self._before = np.empty(0, np.int16)  # what lies right before the held ones

    def _cut(self, held: Samples) -> Iterator[tuple[Facts, bytes]]:
        yield from self._hand_over(self._start, held[: self._window])
        self._start += self._hop / self.rate
        self._before = held[: self._hop] if self._hop <= len(held) else self._before[:0]
        self._skip = max(0, self._hop - len(held))
        self._held = [held[self._hop :]]
        self._fresh = len(held) - max(self._window, self._hop) if len(held) > self._hop else 0

    def _hand_over(self, start: float, samples: Samples) -> Iterator[tuple[Facts, bytes]]:
        loudness = _loudness(samples, int(self.rate * _BLOCK_SECONDS))
        if loudness <= 1.0 or (loudness < self._quiet and not self._keep_quiet):
            return
        self.found += 1
        end = start + len(samples) / self.rate
        data = samples.astype("<i2", copy=False).tobytes()
        yield {"start": round(start, 6), "end": round(end, 6)}, data

    def _count(self, seconds: object) -> int:
        return max(1, round(float(str(seconds)) * self.rate))


def _loudness(samples: Samples, block: int) -> float:
    """Return the root mean square of the loudest stretch, in steps of 16 bits."""
    squares = samples.astype(np.float64) ** 2
    starts = np.arange(0, len(squares), block)
    lengths = np.diff(np.append(starts, len(squares)))
    return float(np.sqrt((np.add.reduceat(squares, starts) / lengths).max()))
