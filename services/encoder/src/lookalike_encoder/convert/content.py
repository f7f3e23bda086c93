"""Contents that callers send."""

from __future__ import annotations

import copy
from collections.abc import Callable

from lookalike.type.v1 import content_pb2
from lookalike_common.errors import FieldViolation, LookalikeError, UnsupportedMediaError
from lookalike_encoder.content import (
    AudioContent,
    Content,
    ImageContent,
    RawAudioContent,
    RawImageContent,
    SequenceContent,
    SmilesContent,
    TextContent,
)
from lookalike_encoder.encoder import takes, wrong_modality
from lookalike_encoder.manifest import Manifest
from lookalike_media import PixelFormat, SampleFormat

_PIXEL_FORMATS = {
    content_pb2.RawImage.PIXEL_FORMAT_UNSPECIFIED: PixelFormat.RGB8,
    content_pb2.RawImage.PIXEL_FORMAT_RGB8: PixelFormat.RGB8,
    content_pb2.RawImage.PIXEL_FORMAT_GRAY8: PixelFormat.GRAY8,
}
_SAMPLE_FORMATS = {
    content_pb2.RawAudio.SAMPLE_FORMAT_UNSPECIFIED: SampleFormat.S16,
    content_pb2.RawAudio.SAMPLE_FORMAT_S16: SampleFormat.S16,
    content_pb2.RawAudio.SAMPLE_FORMAT_F32: SampleFormat.F32,
}


_READERS: dict[str, Callable[[content_pb2.Content], Content]] = {
    "text": lambda content: TextContent(content.text),
    "image": lambda content: ImageContent(content.image),
    "raw_image": lambda content: _from_raw_image(content.raw_image),
    "audio": lambda content: AudioContent(content.audio),
    "raw_audio": lambda content: _from_raw_audio(content.raw_audio),
    "smiles": lambda content: SmilesContent(content.smiles),
    "sequence": lambda content: SequenceContent(content.sequence),
}


def from_content(content: content_pb2.Content, manifest: Manifest) -> Content | LookalikeError:
    """Read one content.

    What the encoder does not take becomes its error, and so do stored assets, which only ingest
    can read.
    """
    read = _READERS.get(content.WhichOneof("data") or "")
    if read is None:
        return UnsupportedMediaError(
            "the encoder reads no stored assets; send the bytes", field="content.asset"
        )
    found = read(content)
    return found if takes(manifest, found) else wrong_modality(manifest, found)


def placed(error: LookalikeError, field: str) -> LookalikeError:
    """Return a copy of an error about an item's `content` where the request calls it otherwise."""
    moved = copy.copy(error)
    moved.field = error.field.removeprefix("content").removeprefix(".")
    moved.violations = (FieldViolation(moved.field, error.message),)
    return moved.at(field)


def _from_raw_image(raw: content_pb2.RawImage) -> RawImageContent:
    return RawImageContent(raw.data, raw.width, raw.height, _PIXEL_FORMATS[raw.pixel_format])


def _from_raw_audio(raw: content_pb2.RawAudio) -> RawAudioContent:
    return RawAudioContent(
        raw.data, raw.sample_rate, raw.channels, _SAMPLE_FORMATS[raw.sample_format]
    )
