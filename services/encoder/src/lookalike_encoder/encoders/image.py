"""Pictures: decode, fit into the model's square, run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import (
    ImageContent,
    Item,
    Operation,
    RawImageContent,
    Vectors,
)
from lookalike_encoder.encoder import Prepared, Row, normalise, wrong_modality
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.session import Runtime
from lookalike_media import (
    Box,
    ImageHeader,
    ImageLimits,
    PixelBudget,
    Pixels,
    RawImage,
    crop_image,
    decode_image,
    probe_image,
    raw_image,
    reduction,
    resize_pixels,
)

_INPUT, _OUTPUT = "image", "features"
_Byte = Annotated[int, Field(ge=0, le=255)]


class ImagePreprocessing(BaseModel):
    """How a picture becomes what the model takes: uint8 [height, width, 3], red first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    fit: Literal["pad", "stretch"]
    """Keep the proportions and fill the rest, or change them."""
    fill: tuple[_Byte, _Byte, _Byte]
    """The colour that fills the rest."""
    decoded_side: int = Field(ge=1)
    """The shorter side that a JPEG decoded at reduced scale must still have."""


class ImageEncoder:
    """A model that takes pixels as `image` and returns one vector each as `features`."""

    prefetches = True
    operations = frozenset({Operation.ENCODE})
    labels = ()

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        self.manifest = manifest
        self._preprocessing = ImagePreprocessing.model_validate(manifest.preprocessing)
        shape = (self._preprocessing.height, self._preprocessing.width, 3)
        self._blank = np.full(shape, self._preprocessing.fill, np.uint8)  # ten times a copy's cost
        self._limits = ImageLimits(manifest.limits.max_bytes, manifest.limits.max_pixels)
        self._memory = PixelBudget(self._limits.max_pixels)
        self._threads = runtime.threads
        self._session = runtime.open_session(files["model"])

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._session.device

    def estimate(self, item: Item) -> int:
        """Count pictures."""
        return len(item.regions) or 1

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Decode each item once and cut out its regions, several items at a time."""
        if len(items) == 1:
            return [self._prepare_item(items[0])]
        return list(self._threads.map(self._prepare_item, items))

    def encode(self, rows: Sequence[Row]) -> list[Vectors]:
        """Run pictures together."""
        batch = np.stack([row.data for row in rows])
        (features,) = self._session.run({_INPUT: batch}, [_OUTPUT])
        return list(normalise(features.astype(np.float32, copy=False), self.manifest.normalisation))

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        try:
            with self._memory.reserve(self._decoded_pixels(item)):
                return self._cut_and_fit(self._decode(item), item.regions)
        except LookalikeError as error:
            return error

    def _cut_and_fit(self, image: RawImage, regions: Sequence[Box]) -> Prepared:
        parts = [_cut(image, box, index) for index, box in enumerate(regions)] or [image]
        return Prepared(tuple(Row(1, self._fit(part.pixels)) for part in parts))

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
            raise wrong_modality(self.manifest, content)
        with _located("content"):
            if isinstance(content, RawImageContent):
                return raw_image(
                    content.data, content.width, content.height, content.pixel_format, self._limits
                )
            header = self._probe(content)
            needed = self._needed_side(header, item.regions)
            return decode_image(content.data, self._limits, header=header, min_side=needed)

    def _probe(self, content: ImageContent) -> ImageHeader:
        with _located("content"):
            return probe_image(content.data, self._limits)

    def _needed_side(self, header: ImageHeader, regions: Sequence[Box]) -> int:
        """Return the shorter side the decoded picture needs, so that every region has enough."""
        needed = self._preprocessing.decoded_side
        if not regions:
            return needed
        smallest = max(1, min(min(box.width, box.height) for box in regions))
        return -(-needed * min(header.width, header.height) // smallest)

    def _fit(self, pixels: Pixels) -> Pixels:
        """Scale a picture into the model's square."""
        width, height = self._preprocessing.width, self._preprocessing.height
        if self._preprocessing.fit == "stretch":
            return resize_pixels(pixels, width, height)
        rows, columns = pixels.shape[:2]
        scale = min(width / columns, height / rows)
        inner_width = min(width, max(1, round(columns * scale)))
        inner_height = min(height, max(1, round(rows * scale)))
        square = self._blank.copy()
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        square[top : top + inner_height, left : left + inner_width] = resize_pixels(
            pixels, inner_width, inner_height
        )
        return square


def _cut(image: RawImage, box: Box, index: int) -> RawImage:
    with _located(f"regions[{index}]"):
        return crop_image(image, box)


@contextmanager
def _located(field: str) -> Iterator[None]:
    """Say which field of the item an error is about."""
    try:
        yield
    except LookalikeError as error:
        raise error.at(field) from error.__cause__
