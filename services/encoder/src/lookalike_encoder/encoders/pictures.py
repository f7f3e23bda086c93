"""Pictures on their way to a model: decoded within limits, and fitted into the model's frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import ImageContent, Item, RawImageContent
from lookalike_encoder.encoder import wrong_modality
from lookalike_encoder.manifest import Manifest
from lookalike_media import (
    Box,
    ImageHeader,
    ImageLimits,
    Interpolation,
    PixelBudget,
    Pixels,
    RawImage,
    decode_image,
    probe_image,
    raw_image,
    reduction,
    resize_pixels,
)

Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
"""Red, green, blue."""
Fit = Literal["pad", "stretch", "crop"]
"""Keep the proportions and fill the rest; change them; or keep them and cut off the rest."""
_LONGEST_SCALED: Final = 8192
"""Pixels; strips that would become longer than this are cut to their middle before."""


class PictureReader:
    """Decodes pictures for one encoder, from any number of threads."""

    def __init__(self, manifest: Manifest, decoded_side: int) -> None:
        """`decoded_side`: the shorter side that a JPEG decoded at reduced scale must still have."""
        self._manifest = manifest
        self._decoded_side = decoded_side
        self._limits = ImageLimits(manifest.limits.max_bytes, manifest.limits.max_pixels)
        self._memory = PixelBudget(self._limits.max_pixels)

    @contextmanager
    def open(self, item: Item) -> Iterator[RawImage]:
        """Yield the decoded picture; its memory counts until the block ends.

        Raises WrongModalityError and what decoding raises, for the item's field `content`.
        """
        with self._memory.reserve(self._decoded_pixels(item)):
            yield self._decode(item)

    def _decoded_pixels(self, item: Item) -> int:
        """Read from the header how many pixels decoding will take."""
        if not isinstance(item.content, ImageContent):
            return 0  # raw pixels are here already
        header = self._probe(item.content)
        scale = reduction(header, self._needed_side(header, item.regions))
        return header.width * header.height // scale**2

    def _decode(self, item: Item) -> RawImage:
        content = item.content
        if not isinstance(content, ImageContent | RawImageContent):
            raise wrong_modality(self._manifest, content)
        with located("content"):
            if isinstance(content, RawImageContent):
                return raw_image(
                    content.data, content.width, content.height, content.pixel_format, self._limits
                )
            header = self._probe(content)
            needed = self._needed_side(header, item.regions)
            return decode_image(content.data, self._limits, header=header, min_side=needed)

    def _probe(self, content: ImageContent) -> ImageHeader:
        with located("content"):
            return probe_image(content.data, self._limits)

    def _needed_side(self, header: ImageHeader, regions: Sequence[Box]) -> int:
        """Return the shorter side the decoded picture needs, so that every region has enough."""
        needed = self._decoded_side
        if not regions:
            return needed
        smallest = max(1, min(min(box.width, box.height) for box in regions))
        return -(-needed * min(header.width, header.height) // smallest)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in a frame a picture lies, in the frame's pixels."""

    left: int
    top: int
    width: int
    height: int


class Frame:
    """The fixed size that a model takes, and how pictures of any size get into it."""

    def __init__(
        self,
        width: int,
        height: int,
        fit: Fit,
        fill: Colour,
        *,
        interpolation: Interpolation = Interpolation.AREA,
        shorter_side: int = 0,
    ) -> None:
        """`crop` first scales the shorter side to `shorter_side`, or just over the frame."""
        self._width, self._height, self._fit = width, height, fit
        self._interpolation = interpolation
        self._shorter_side = shorter_side
        self._blank = np.full((height, width, 3), fill, np.uint8)  # ten times a copy's cost

    def place(self, pixels: Pixels) -> Placement:
        """Return where `pad` or `stretch` puts a picture of that size."""
        if self._fit == "stretch":
            return Placement(0, 0, self._width, self._height)
        rows, columns = pixels.shape[:2]
        scale = min(self._width / columns, self._height / rows)
        width = min(self._width, max(1, round(columns * scale)))
        height = min(self._height, max(1, round(rows * scale)))
        return Placement((self._width - width) // 2, (self._height - height) // 2, width, height)

    def fit(self, pixels: Pixels) -> Pixels:
        """Scale a picture into the frame: uint8 [height, width, 3], red first."""
        if self._fit == "crop":
            return self._crop(pixels)
        place = self.place(pixels)
        scaled = resize_pixels(pixels, place.width, place.height, self._interpolation)
        if (place.width, place.height) == (self._width, self._height):
            return scaled
        square = self._blank.copy()
        square[place.top : place.top + place.height, place.left : place.left + place.width] = scaled
        return square

    def _crop(self, pixels: Pixels) -> Pixels:
        """Scale so that the frame is covered, and keep the middle; of a strip only that is read."""
        rows, columns = pixels.shape[:2]
        side = self._shorter_side
        scale = (
            side / min(rows, columns) if side else max(self._width / columns, self._height / rows)
        )
        pixels = _middle(pixels, _shorter(columns, scale), _shorter(rows, scale))
        rows, columns = pixels.shape[:2]
        width = max(self._width, int(columns * scale))
        height = max(self._height, int(rows * scale))
        scaled = resize_pixels(pixels, width, height, self._interpolation)
        return _middle(scaled, self._width, self._height)


def _shorter(size: int, scale: float) -> int:
    """Return how much of a side is worth scaling: all of it, unless that becomes enormous."""
    return min(size, max(1, int(_LONGEST_SCALED / scale)))


def _middle(pixels: Pixels, width: int, height: int) -> Pixels:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


@contextmanager
def located(field: str) -> Iterator[None]:
    """Say which field of the item an error is about."""
    try:
        yield
    except LookalikeError as error:
        raise error.at(field) from error.__cause__
