"""Sounds: decode, cut into windows, run, pool over the windows of each sound.

A row of a batch is one sound with all its windows. They are strung together for the model and
told apart again afterwards, so sounds of any length share a run without padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_encoder.content import AudioContent, Item, Operation, RawAudioContent, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise, wrong_modality
from lookalike_encoder.encoders.front_ends import SAMPLE_RATE, Windows, open_front_end
from lookalike_encoder.manifest import Manifest, ManifestError, Pooling
from lookalike_encoder.session import Runtime
from lookalike_media import AudioLimits, Samples, Sound, decode_audio, raw_audio

_SILENCE = 1 / 32768  # the smallest step of 16 bits; resampling leaves less where nothing was
_BYTES_A_SECOND = 16_000  # of a file; only the size of an epoch depends on it


class AudioPreprocessing(BaseModel):
    """How a sound becomes what the model takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    front_end: Literal["speech", "log-mel"]
    """`speech` needs the file `spectrogram`."""
    hop: int = Field(ge=1)
    """Hundredths of a second from one window to the next."""
    input: str
    """The model's input."""
    output: str
    """The model's output: one vector a window."""


class AudioEncoder:
    """A model that makes a vector of each window of a sound."""

    prefetches = True
    operations = frozenset({Operation.ENCODE})
    labels = ()

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        self.manifest = manifest
        self._preprocessing = AudioPreprocessing.model_validate(manifest.preprocessing)
        limits = manifest.limits
        if not limits.max_duration or not limits.min_duration:
            raise ManifestError("an encoder of sounds needs limits on their duration")
        if manifest.pooling is Pooling.NONE:
            raise ManifestError("a sound has several windows: they must be pooled")
        self._limits = AudioLimits(limits.max_bytes, limits.max_duration)
        kind, hop = self._preprocessing.front_end, self._preprocessing.hop
        self._front_end = open_front_end(kind, hop, files, runtime)
        self._threads = runtime.threads
        self._session = runtime.open_session(files["model"])
        self._check_input()

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._session.device

    def estimate(self, item: Item) -> int:
        """Guess the number of windows by the number of bytes."""
        longest = self._limits.max_duration.total_seconds()
        seconds = min(item.content.size / _bytes_a_second(item), longest)
        return 1 + int(seconds * 100 / self._preprocessing.hop)

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Decode sounds and make their spectrograms, several at a time."""
        if len(items) == 1:
            return [self._prepare_item(items[0])]
        return list(self._threads.map(self._prepare_item, items))

    def encode(self, rows: Sequence[Row]) -> list[Vectors]:
        """Run the windows of all sounds together and pool those of each."""
        features = self._run(np.concatenate([row.data for row in rows]))
        ends = np.cumsum([len(row.data) for row in rows])[:-1]
        pooled = np.stack([self._pool(each) for each in np.split(features, ends)])
        return list(normalise(pooled, self.manifest.normalisation))

    def _check_input(self) -> None:
        name, shape = self._preprocessing.input, self._front_end.shape
        spec = self._session.inputs.get(name)
        if spec is None or spec.shape[1:] != shape:
            raise ManifestError(f"the model takes no windows of the shape {shape} as {name!r}")

    def _run(self, windows: Windows) -> Vectors:
        """Run windows, so many at a time that a long sound takes no more memory than others."""
        size = self.manifest.budget(self.device).max_work
        wanted = [self._preprocessing.output]
        parts = [
            self._session.run({self._preprocessing.input: windows[start : start + size]}, wanted)[0]
            for start in range(0, len(windows), size)
        ]
        return np.concatenate(parts).reshape(len(windows), -1).astype(np.float32, copy=False)

    def _pool(self, features: Vectors) -> Vectors:
        """Make one vector of those of all windows: [windows, d] → [d], or [2 d]."""
        mean = features.mean(axis=0)
        if self.manifest.pooling is Pooling.MEAN:
            return np.asarray(mean)
        return np.concatenate([mean, features.std(axis=0)])

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        if item.regions:
            return InvalidArgumentError("only pictures have regions", field="regions")
        if not isinstance(item.content, AudioContent | RawAudioContent):
            return wrong_modality(self.manifest, item.content)
        try:
            windows = self._front_end.windows(self._level(self._decode(item.content)))
        except LookalikeError as error:
            return error.at("content")
        return Prepared((Row(len(windows), windows),))

    def _decode(self, content: AudioContent | RawAudioContent) -> Sound:
        if isinstance(content, AudioContent):
            return decode_audio(content.data, self._limits, sample_rate=SAMPLE_RATE)
        return raw_audio(
            content.data,
            content.sample_rate,
            content.channels,
            content.sample_format,
            self._limits,
            sample_rate=SAMPLE_RATE,
        )

    def _level(self, sound: Sound) -> Samples:
        """Bring a sound's peak to 1; refuses what is too short, or silent."""
        shortest = self.manifest.limits.min_duration
        if sound.duration < shortest:
            raise LimitExceededError(
                f"the sound lasts {sound.duration.total_seconds():.3f} s; at least "
                f"{shortest.total_seconds():.3f} s are needed"
            )
        peak = np.abs(sound.samples).max()
        if peak < _SILENCE:
            raise InvalidContentError("the sound is silent")
        return np.asarray(sound.samples / peak, np.float32)


def _bytes_a_second(item: Item) -> int:
    content = item.content
    if not isinstance(content, RawAudioContent):
        return _BYTES_A_SECOND
    width = np.dtype(content.sample_format.value).itemsize
    return max(1, content.sample_rate * content.channels * width)
