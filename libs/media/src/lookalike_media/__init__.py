"""Bounded decoding of still images and sound. Used by the encoder and by ingest.

Failures are errors of `lookalike_common.errors` that know their reason: InvalidContentError
(empty, damaged), UnsupportedMediaError (nothing that can be read), LimitExceededError.
"""

from lookalike_media._budget import PixelBudget
from lookalike_media._decode import decode_image, reduction
from lookalike_media._exif import Exif, Location, read_exif
from lookalike_media._header import IMAGE_FORMATS, ImageHeader, ImageLimits, probe_image
from lookalike_media._image import (
    Box,
    Interpolation,
    PixelFormat,
    Pixels,
    RawImage,
    crop_image,
    raw_image,
    resize_pixels,
)
from lookalike_media._sound import SampleFormat, Samples, Sound, decode_audio, raw_audio
from lookalike_media._sound_header import AUDIO_FORMATS, AudioHeader, AudioLimits, probe_audio

__all__ = [
    "AUDIO_FORMATS",
    "IMAGE_FORMATS",
    "AudioHeader",
    "AudioLimits",
    "Box",
    "Exif",
    "ImageHeader",
    "ImageLimits",
    "Interpolation",
    "Location",
    "PixelBudget",
    "PixelFormat",
    "Pixels",
    "RawImage",
    "SampleFormat",
    "Samples",
    "Sound",
    "crop_image",
    "decode_audio",
    "decode_image",
    "probe_audio",
    "probe_image",
    "raw_audio",
    "raw_image",
    "read_exif",
    "reduction",
    "resize_pixels",
]
