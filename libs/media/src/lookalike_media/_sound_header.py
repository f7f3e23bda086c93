"""What a sound file says about itself, read before a single sample is decoded.

Seconds are cheap to declare and dear to decode, so the declared duration is checked first; what
decoding brings to light is checked again, as headers lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_media._sndfile import FAILURES, SoundReader

AUDIO_FORMATS = ("AIFF", "FLAC", "MP3", "OGG", "WAV")
"""The formats that can be read: OGG with Vorbis, Opus or FLAC in it."""

_CODINGS = frozenset(
    {
        *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
        *("IMA_ADPCM", "MS_ADPCM", "VORBIS", "OPUS"),
        *("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    }
)
_MIN_RATE, _MAX_RATE = 4_000, 384_000
_MAX_CHUNKS = 1_000  # before the samples; each costs time, and files have a dozen at most
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's way to say that a header does not tell
_UNKNOWN_BYTES = frozenset({0, 0x7FFFFFFF, 0xFFFFFFFF})  # what a writer to a pipe leaves there


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """How large a sound may be."""

    max_bytes: int = 64 << 20
    """Bytes of the file."""
    max_duration: timedelta = timedelta(minutes=10)
    """From its first frame to its last."""
    max_channels: int = 16
    """Samples of one frame."""


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What the first bytes declare."""

    format: str
    """One of `AUDIO_FORMATS`."""
    coding: str
    """How samples are stored, in libsndfile's words: `PCM_16`, `VORBIS`."""
    sample_rate: int
    """Frames a second."""
    channels: int
    """Samples of one frame."""
    frames: int
    """Frames of the whole sound; 0 where the header does not say."""

    @property
    def duration(self) -> timedelta:
        """Return how long it is; 0 where the header does not say."""
        return timedelta(seconds=self.frames / self.sample_rate)


def probe_audio(data: bytes, limits: AudioLimits | None = None) -> AudioHeader:
    """Read the header of a sound file and check it against the limits.

    Raises InvalidContentError (empty or damaged), UnsupportedMediaError (no sound that can be
    read here) or LimitExceededError.
    """
    with open_sound(data, limits or AudioLimits()) as (header, _):
        return header


@contextmanager
def open_sound(data: bytes, limits: AudioLimits) -> Iterator[tuple[AudioHeader, SoundReader]]:
    """Open a sound file whose header keeps the limits; raises what `probe_audio` does."""
    check_bytes(data, limits)
    name = _sniff(data)
    _check_chunks(data, name)
    try:
        reader = SoundReader(data)
    except FAILURES as error:
        raise InvalidContentError(f"the {name} header is damaged or truncated") from error
    try:
        frames = reader.frames if 0 < reader.frames < _UNKNOWN_FRAMES else 0
        if reader.coding not in _CODINGS:
            raise UnsupportedMediaError(f"{name} with {reader.coding} in it cannot be read here")
        check_shape(reader.sample_rate, reader.channels, frames, limits)
        header = AudioHeader(name, reader.coding, reader.sample_rate, reader.channels, frames)
        yield header, reader
    finally:
        reader.close()


def check_bytes(data: bytes, limits: AudioLimits) -> None:
    """Refuse what is empty or too large."""
    if not data:
        raise InvalidContentError("the sound is empty")
    if len(data) > limits.max_bytes:
        raise LimitExceededError(
            f"the sound has {len(data)} bytes; at most {limits.max_bytes} are allowed"
        )


def check_shape(sample_rate: int, channels: int, frames: int, limits: AudioLimits) -> None:
    """Refuse rates and channels that no sound has, and what lasts too long."""
    if not _MIN_RATE <= sample_rate <= _MAX_RATE:
        raise UnsupportedMediaError(
            f"the sound has {sample_rate} samples a second; {_MIN_RATE} to {_MAX_RATE} can be read"
        )
    if not 1 <= channels <= limits.max_channels:
        raise LimitExceededError(
            f"the sound has {channels} channels; 1 to {limits.max_channels} are allowed"
        )
    if frames > limits.max_duration.total_seconds() * sample_rate:
        raise LimitExceededError(
            f"the sound lasts {frames / sample_rate:.1f} s; at most "
            f"{limits.max_duration.total_seconds():.1f} s are allowed"
        )


def _sniff(data: bytes) -> str:
    """Tell the format by its signature, so that a damaged file is not called an unknown one."""
    if data[:4] in {b"RIFF", b"RIFX"} and data[8:12] == b"WAVE":
        return "WAV"
    if data[:4] == b"FORM" and data[8:12] in {b"AIFF", b"AIFC"}:
        return "AIFF"
    for signature, name in ((b"fLaC", "FLAC"), (b"OggS", "OGG"), (b"ID3", "MP3")):
        if data.startswith(signature):
            return name
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06:
        return "MP3"
    readable = ", ".join(AUDIO_FORMATS)
    raise UnsupportedMediaError(f"these bytes are no sound that can be read here ({readable})")


def _check_chunks(data: bytes, name: str) -> None:
    """Refuse a WAV or AIFF whose samples are cut off: libsndfile would read what is left."""
    if name not in {"WAV", "AIFF"}:
        return
    order: Literal["little", "big"] = "little" if data.startswith(b"RIFF") else "big"
    place = 12
    for _ in range(_MAX_CHUNKS):
        kind = data[place : place + 4]
        size = int.from_bytes(data[place + 4 : place + 8], order)
        place += 8
        if kind in {b"data", b"SSND"}:
            if size not in _UNKNOWN_BYTES and size > len(data) - place:
                raise InvalidContentError(
                    f"the {name} declares {size} bytes of samples; {len(data) - place} are there"
                )
            return
        place += size + size % 2
    raise InvalidContentError(f"the {name} has no samples, or they lie behind too much else")
