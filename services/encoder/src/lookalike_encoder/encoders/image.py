"""Pictures: decode, fit into the model's square, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Item, Operation, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise
from lookalike_encoder.encoders.pictures import Colour, Frame, PictureReader, located
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.session import Runtime
from lookalike_media import Box, RawImage, crop_image

_INPUT, _OUTPUT = "image", "features"


class ImagePreprocessing(BaseModel):
    """How a picture becomes what the model takes: uint8 [height, width, 3], red first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    fit: Literal["pad", "stretch"]
    """Keep the proportions and fill the rest, or change them."""
    fill: Colour
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
        how = ImagePreprocessing.model_validate(manifest.preprocessing)
        self._frame = Frame(how.width, how.height, how.fit, how.fill)
        self._reader = PictureReader(manifest, how.decoded_side)
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
        return list(normalise(self.run(rows, _OUTPUT), self.manifest.normalisation))

    def run(self, rows: Sequence[Row], output: str) -> Vectors:
        """Run pictures together and return one of the model's outputs: float32 [rows, its size]."""
        batch = np.stack([row.data for row in rows])
        (made,) = self._session.run({_INPUT: batch}, [output])
        return made.astype(np.float32, copy=False)

    def size_of(self, output: str) -> int | None:
        """Return how many numbers an output has for each picture; None if any number."""
        return self._session.outputs[output].shape[-1]

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        try:
            with self._reader.open(item) as image:
                return self._cut_and_fit(image, item.regions)
        except LookalikeError as error:
            return error

    def _cut_and_fit(self, image: RawImage, regions: Sequence[Box]) -> Prepared:
        parts = [_cut(image, box, index) for index, box in enumerate(regions)] or [image]
        return Prepared(tuple(Row(1, self._frame.fit(part.pixels)) for part in parts))


def _cut(image: RawImage, box: Box, index: int) -> RawImage:
    with located(f"regions[{index}]"):
        return crop_image(image, box)
