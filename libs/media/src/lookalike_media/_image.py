"""Decoded pictures, and the few things done to them on the way to a model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_media._header import ImageLimits
from lookalike_media._opencv import cv2

Pixels = NDArray[np.uint8]
"""uint8 [height, width, 3], red first."""


class Interpolation(Enum):
    """How pixels between pixels are made up when a picture is scaled."""

    AREA = "area"
    """Averaging areas when shrinking, linearly when growing; the fastest."""
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


_PILLOW = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
}


class PixelFormat(Enum):
    """What one pixel of raw bytes is; the value is its number of bytes."""

    RGB8 = 3
    GRAY8 = 1


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright picture, origin at the top left."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class RawImage:
    """An upright, opaque RGB picture, perhaps decoded at a reduced scale."""

    pixels: Pixels
    """uint8 [height, width, 3], red first."""
    source_width: int
    """Columns at full scale: what boxes count in."""
    source_height: int
    """Rows at full scale."""

    @property
    def width(self) -> int:
        """Columns of `pixels`."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of `pixels`."""
        return int(self.pixels.shape[0])


def raw_image(
    data: bytes,
    width: int,
    height: int,
    pixel_format: PixelFormat = PixelFormat.RGB8,
    limits: ImageLimits | None = None,
) -> RawImage:
    """Wrap raw pixels, rows from the top, without padding; the size must fit exactly."""
    limits = limits or ImageLimits()
    if width * height > limits.max_pixels:
        raise LimitExceededError(
            f"the image has {width}x{height} pixels; at most {limits.max_pixels} are allowed"
        )
    expected = width * height * pixel_format.value
    if not expected or len(data) != expected:
        raise InvalidContentError(
            f"{width}x{height} pixels of {pixel_format.name} are {expected} bytes, not {len(data)}"
        )
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, pixel_format.value)
    if pixel_format is PixelFormat.GRAY8:
        pixels = np.repeat(pixels, 3, axis=2)
    return RawImage(pixels, width, height)


def crop_image(image: RawImage, box: Box) -> RawImage:
    """Cut out a box given in full-scale pixels; at least one decoded pixel remains.

    Raises InvalidContentError if the box reaches beyond the picture.
    """
    inside = box.x >= 0 and box.y >= 0 and box.width > 0 and box.height > 0
    if not inside or (
        box.x + box.width > image.source_width or box.y + box.height > image.source_height
    ):
        raise InvalidContentError(
            f"the region {box.width}x{box.height} at ({box.x}, {box.y}) is not within the "
            f"picture of {image.source_width}x{image.source_height} pixels"
        )
    left, right = _scaled(box.x, box.width, image.source_width, image.width)
    top, bottom = _scaled(box.y, box.height, image.source_height, image.height)
    return RawImage(image.pixels[top:bottom, left:right], box.width, box.height)


def _scaled(start: int, length: int, source: int, decoded: int) -> tuple[int, int]:
    """Map a full-scale stretch to decoded pixels, half open and never empty."""
    first = min(start * decoded // source, decoded - 1)
    last = round((start + length) * decoded / source)
    return first, max(last, first + 1)


def resize_pixels(
    pixels: Pixels, width: int, height: int, interpolation: Interpolation = Interpolation.AREA
) -> Pixels:
    """Scale to `width` x `height`.

    BILINEAR and BICUBIC come out as Pillow's, which most models were trained with.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if interpolation is not Interpolation.AREA:
        method = _PILLOW[interpolation]
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize((width, height), method), dtype=np.uint8)
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, (width, height), interpolation=flag)
    return np.asarray(resized, dtype=np.uint8)
