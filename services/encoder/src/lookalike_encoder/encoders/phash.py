"""Hashes of pictures by their coarse shapes, for finding copies that were edited a little.

A picture is shrunk to a grey square, and 256 bits say which of its slowest waves are stronger than
the median: scaling, compressing and a change of brightness or contrast leave most of them alone.
Copies differ in few bits, different pictures in about half; what a picture shows is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Bits, Item, Operation
from lookalike_encoder.encoder import Prepared, Row
from lookalike_encoder.encoders.pictures import Frame, PictureReader, located
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.session import Runtime
from lookalike_media import crop_image

_WHITE = (255, 255, 255)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as JPEG
_NOISE = 1e-6  # of the arithmetic: a picture of one colour has no waves


class PhashPreprocessing(BaseModel):
    """How a picture becomes bits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    side: int = Field(ge=8, le=512)
    """Of the grey square that is measured."""
    waves: int = Field(ge=4, le=64)
    """Waves in each direction; their square is the number of bits."""
    decoded_side: int = Field(ge=1)
    """The shorter side that a JPEG decoded at reduced scale must still have."""


class PhashEncoder:
    """Bits of the discrete cosine transform: uint8 [waves² / 8]."""

    prefetches = False
    operations = frozenset({Operation.ENCODE})
    labels = ()
    device = "cpu"

    def __init__(self, manifest: Manifest, _files: Mapping[str, Path], runtime: Runtime) -> None:
        self.manifest = manifest
        how = PhashPreprocessing.model_validate(manifest.preprocessing)
        if manifest.dimensions != how.waves**2:
            raise ManifestError(f"{how.waves} waves make {how.waves**2} bits")
        self._frame = Frame(how.side, how.side, "stretch", _WHITE)
        self._reader = PictureReader(manifest, how.decoded_side)
        self._threads = runtime.threads
        self._waves = cosines(how.waves, how.side)

    def estimate(self, item: Item) -> int:
        """Count pictures."""
        return len(item.regions) or 1

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Decode each item once and shrink its regions, several items at a time."""
        if len(items) == 1:
            return [self._prepare_item(items[0])]
        return list(self._threads.map(self._prepare_item, items))

    def encode(self, rows: Sequence[Row]) -> list[Bits]:
        """Measure the waves of each picture and compare them with their median."""
        return [self._hash(row.data) for row in rows]

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        try:
            with self._reader.open(item) as image:
                parts = [image] if not item.regions else []
                for index, box in enumerate(item.regions):
                    with located(f"regions[{index}]"):
                        parts.append(crop_image(image, box))
                return Prepared(tuple(Row(1, self._frame.fit(part.pixels)) for part in parts))
        except LookalikeError as error:
            return error

    def _hash(self, pixels: NDArray[np.uint8]) -> Bits:
        strengths = self._waves @ (pixels @ _LUMA) @ self._waves.T
        strengths = np.round(strengths / _NOISE) * _NOISE
        return np.packbits(strengths > np.median(strengths), bitorder="little")


def cosines(waves: int, side: int) -> NDArray[np.float64]:
    """Return the first waves of the DCT-II without the constant one: float64 [waves, side]."""
    places = (np.arange(side) + 0.5) / side
    angles = np.pi * np.outer(np.arange(1, waves + 1), places)
    return np.asarray(np.sqrt(2 / side) * np.cos(angles))
