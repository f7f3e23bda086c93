"""Objects in pictures: decode, fit into the model's frame, run, keep one box an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import InternalError, LookalikeError
from lookalike_encoder.content import Item, Operation
from lookalike_encoder.encoder import Prepared, Row
from lookalike_encoder.encoders.pictures import Colour, Frame, PictureReader, Placement
from lookalike_encoder.manifest import Detection, Manifest, ManifestError
from lookalike_encoder.objects import Boxes, Objects, find_objects
from lookalike_encoder.session import Runtime
from lookalike_media import Pixels

_Three = tuple[float, float, float]


class DetectorPreprocessing(BaseModel):
    """How a picture becomes what the model takes, and how its boxes are to be read."""

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
    input: str = "image"
    """The model's input: pixels [n, height, width, 3], red first, as bytes or floats."""
    channels: Literal["last", "first"] = "last"
    """`first`: the input is [n, 3, height, width]."""
    mean: _Three = (0, 0, 0)
    """What is subtracted from the bytes of a model that takes floats, by colour."""
    scale: _Three = (1, 1, 1)
    """What the difference is divided by."""
    boxes: str = "boxes"
    """The output with a box for each place: [n, places, 4]."""
    scores: str = "scores"
    """The output with scores from 0 to 1: [n, places, labels]."""
    layout: Literal["corners", "rows-first", "centre"] = "corners"
    """Left, top, right, bottom; top, left, bottom, right; or middle x and y, width, height."""
    unit: Literal["pixel", "frame"] = "pixel"
    """Boxes count pixels of the input, or are shares of its sides."""


@dataclass(frozen=True, slots=True, eq=False)
class _Framed:
    """A picture in the model's frame."""

    pixels: Pixels
    place: Placement
    width: int
    """Columns of the upright picture."""
    height: int


class DetectorEncoder:
    """A model that takes pixels and returns boxes and their scores."""

    prefetches = True
    operations = frozenset({Operation.DETECT})

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        """Raise ManifestError where the manifest lacks `detection` or labels do not fit."""
        self.manifest = manifest
        self._how = DetectorPreprocessing.model_validate(manifest.preprocessing)
        self._detection = _detection(manifest)
        self.labels = self._detection.labels
        self._frame = Frame(self._how.width, self._how.height, self._how.fit, self._how.fill)
        self._reader = PictureReader(manifest, self._how.decoded_side)
        self._threads = runtime.threads
        self._session = runtime.open_session(files["model"])
        self._takes_bytes = self._session.inputs[self._how.input].dtype == "uint8"
        announced = self._session.outputs[self._how.scores].shape[-1]
        if announced not in {None, len(self.labels)}:
            raise ManifestError(f"the model knows {announced} labels, not {len(self.labels)}")

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._session.device

    def estimate(self, item: Item) -> int:  # noqa: ARG002 - each is as much work as any other
        """Count pictures."""
        return 1

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Decode several pictures at a time."""
        if len(items) == 1:
            return [self._prepare_item(items[0])]
        return list(self._threads.map(self._prepare_item, items))

    def encode(self, rows: Sequence[Row]) -> list[Objects]:
        """Find the objects of some pictures together."""
        batch = self._to_input(np.stack([row.data.pixels for row in rows]))
        boxes, scores = self._session.run(
            {self._how.input: batch}, [self._how.boxes, self._how.scores]
        )
        _check_shapes(boxes, scores, len(rows), len(self.labels))
        return [
            self._find(framed, some.astype(np.float32), sure.astype(np.float32))
            for framed, some, sure in zip([row.data for row in rows], boxes, scores, strict=True)
        ]

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        try:
            with self._reader.open(item) as image:
                pixels, place = self._frame.fit(image.pixels), self._frame.place(image.pixels)
                width, height = image.source_width, image.source_height
        except LookalikeError as error:
            return error
        row = Row(1, _Framed(pixels, place, width, height), Operation.DETECT)
        return Prepared((row,), width=width, height=height)

    def _to_input(self, pixels: Pixels) -> NDArray[Any]:
        """Turn bytes [n, height, width, 3] into what the model takes."""
        batch: NDArray[Any] = pixels
        if not self._takes_bytes:
            mean, scale = np.array([self._how.mean, self._how.scale], np.float32)
            batch = (pixels.astype(np.float32) - mean) / scale
        if self._how.channels == "first":
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        return batch

    def _find(self, framed: _Framed, boxes: Boxes, scores: NDArray[np.float32]) -> Objects:
        boxes = _to_corners(boxes, self._how.layout)
        if self._how.unit == "frame":
            sides = (self._how.width, self._how.height)
            boxes *= np.array(sides * 2, np.float32)
        boxes = _to_picture(boxes, framed)
        return find_objects(boxes, scores, self._detection.floor, self._detection.max_overlap)


def _detection(manifest: Manifest) -> Detection:
    if manifest.detection is None:
        raise ManifestError("a detector's manifest needs `detection`")
    return manifest.detection


def _to_corners(boxes: Boxes, layout: str) -> Boxes:
    if layout == "rows-first":
        return boxes[:, [1, 0, 3, 2]]
    if layout == "centre":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes.copy()


def _to_picture(boxes: Boxes, framed: _Framed) -> Boxes:
    """Move boxes from the frame to the upright picture, and cut off what lies beyond it."""
    place, size = framed.place, np.array([framed.width, framed.height] * 2, np.float32)
    origin = np.array([place.left, place.top] * 2, np.float32)
    scale = size / np.array([place.width, place.height] * 2, np.float32)
    return np.clip((boxes - origin) * scale, 0, size)


def _check_shapes(boxes: NDArray[Any], scores: NDArray[Any], rows: int, labels: int) -> None:
    places = boxes.shape[1] if boxes.ndim == 3 else -1
    if boxes.shape != (rows, places, 4) or scores.shape != (rows, places, labels):
        raise InternalError(f"the model returned boxes {boxes.shape}, scores {scores.shape}")
