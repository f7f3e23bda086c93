"""Bounded decoding of still images; sound follows. Used by the encoder and by ingest.

Failures are errors of `lookalike_common.errors` that know their reason: InvalidContentError
(empty, damaged), UnsupportedMediaError (nothing that can be read), LimitExceededError.
"""

from lookalike_media._budget import PixelBudget
from lookalike_media._decode import decode_image, reduction
from lookalike_media._header import IMAGE_FORMATS, ImageHeader, ImageLimits, probe_image
from lookalike_media._image import (
    Box,
    PixelFormat,
    Pixels,
    RawImage,
    crop_image,
    raw_image,
    resize_pixels,
)

__all__ = [
    "IMAGE_FORMATS",
    "Box",
    "ImageHeader",
    "ImageLimits",
    "PixelBudget",
    "PixelFormat",
    "Pixels",
    "RawImage",
    "crop_image",
    "decode_image",
    "probe_image",
    "raw_image",
    "reduction",
    "resize_pixels",
]
