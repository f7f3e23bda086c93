"""Pictures: decode, fit into the model's frame, run, make one vector of the patches'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Item, Operation, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise
from lookalike_encoder.encoders.graph import Graph, find_input, find_output
from lookalike_encoder.encoders.pictures import Colour, Fit, Frame, PictureReader, located
from lookalike_encoder.manifest import Manifest, ManifestError, Pooling
from lookalike_encoder.session import Runtime
from lookalike_media import Box, Interpolation, Pixels, RawImage, crop_image

_INPUTS = ("image", "pixel_values", "images", "input")
_AXES, _CHANNELS = 4, 3
Layout = Literal["nhwc", "nchw"]
Positive = Annotated[float, Field(gt=0)]


class ImagePreprocessing(BaseModel):
    """How a picture becomes what the model takes: uint8 or floats, as the model's file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    fit: Fit
    """How pictures of other proportions get into the frame."""
    fill: Colour
    """The colour that fills the rest."""
    decoded_side: int = Field(ge=1)
    """The shorter side that a JPEG decoded at reduced scale must still have."""
    interpolation: Interpolation = Interpolation.AREA
    shorter_side: int = Field(default=0, ge=0)
    """What the shorter side is scaled to before `crop`; 0: so that the frame is just covered."""
    layout: Layout | None = None
    """Order of the model's axes, where its file leaves the size of all of them open."""
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = Field(default=1.0, gt=0)
    """What pixels are multiplied by, of models that take floats."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What is subtracted then, in the order of the channels."""
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    """What is divided by at last."""
    skipped_tokens: int = Field(default=1, ge=0)
    """Those before the patches, which their mean leaves out: of a class, registers."""
    input: str = ""
    """The model's input, where its name is unusual."""
    output: str = ""
    """The model's output that is pooled, where its name is unusual."""

    @model_validator(mode="after")
    def _check_side(self) -> ImagePreprocessing:
        if 0 < self.shorter_side < max(self.width, self.height):
            raise ValueError("shorter_side is shorter than the frame")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether pixels go into the model as they are."""
        return (self.scale, self.mean, self.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class ImageEncoder:
    """A model that takes pixels and returns one vector a picture, or one a patch."""

    prefetches = True
    operations = frozenset({Operation.ENCODE})
    labels = ()

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        """Raise ManifestError where the model is not what the manifest says."""
        self.manifest = manifest
        self._how = how = ImagePreprocessing.model_validate(manifest.preprocessing)
        self._frame = Frame(
            how.width,
            how.height,
            how.fit,
            how.fill,
            interpolation=how.interpolation,
            shorter_side=how.shorter_side,
        )
        self._reader = PictureReader(manifest, how.decoded_side)
        self._threads = runtime.threads
        self._graph = Graph(runtime.open_session(files["model"]))
        self._input = find_input(self._graph, how.input, _INPUTS)
        self._output = find_output(self._graph, manifest, how.output)
        self._dtype = self._graph.inputs[self._input].dtype
        self._layout = _find_layout(self._graph, self._input, how)
        _check_inputs(self._graph, self._input, how)

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._graph.device

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
        made = self.run(rows, self._output)
        pooled = _pool(made, self.manifest.pooling, self._how.skipped_tokens)
        return list(normalise(pooled, self.manifest.normalisation))

    def run(self, rows: Sequence[Row], output: str) -> Vectors:
        """Run pictures together and return one of the model's outputs: float32 [rows, its size]."""
        batch = self._arrange(np.stack([row.data for row in rows]))
        return self._graph.run({self._input: batch}, output)

    def _arrange(self, pixels: Pixels) -> NDArray[Any]:
        """Bring uint8 [rows, height, width, 3] into the order, type and range of the model."""
        how = self._how
        arranged: NDArray[Any] = pixels[..., ::-1] if how.channels == "bgr" else pixels
        if not how.is_plain:
            factor = np.float32(how.scale) / np.array(how.std, np.float32)
            offset = np.array(how.mean, np.float32) / np.array(how.std, np.float32)
            arranged = arranged * factor - offset
        if self._layout == "nchw":
            arranged = arranged.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(arranged, self._dtype)

    def size_of(self, output: str) -> int | None:
        """Return how many numbers an output has for each picture; None if any number."""
        return self._graph.outputs[output].shape[-1]

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


def _find_layout(graph: Graph, name: str, how: ImagePreprocessing) -> Layout:
    """Return where the model has its channels; raises ManifestError."""
    shape = graph.inputs[name].shape
    if shape and len(shape) != _AXES:
        raise ManifestError(
            f"the model's input {name} has {len(shape)} axes; pictures have {_AXES}"
        )
    found: Layout | None = how.layout
    if shape and shape[1] == _CHANNELS != shape[3]:
        found = "nchw"
    elif shape and shape[3] == _CHANNELS != shape[1]:
        found = "nhwc"
    if found is None:
        raise ManifestError("the manifest must say `layout` under preprocessing: nchw or nhwc")
    if how.layout not in {None, found}:
        raise ManifestError(f"the model takes {found}; the manifest says {how.layout}")
    sizes = (shape[2:] if found == "nchw" else shape[1:3]) if shape else (None, None)
    for title, size, said in zip(("height", "width"), sizes, (how.height, how.width), strict=True):
        if size not in {None, said}:
            raise ManifestError(f"the model takes pictures of {title} {size}, not {said}")
    return found


def _check_inputs(graph: Graph, name: str, how: ImagePreprocessing) -> None:
    """Raise ManifestError if a model wants more than pixels, or other ones."""
    if others := sorted(set(graph.inputs) - {name}):
        raise ManifestError(
            f"the model also takes {', '.join(others)}, which no picture has; export its image "
            "tower alone"
        )
    dtype = graph.inputs[name].dtype
    if dtype not in {"uint8", "float32", "float16"}:
        raise ManifestError(f"the model takes {dtype}; pictures are uint8, float32 or float16")
    if dtype == "uint8" and not how.is_plain:
        raise ManifestError("the model takes bytes; scale, mean and std are for models of floats")


def _pool(made: Vectors, pooling: Pooling, skipped: int) -> Vectors:
    """Make one vector of each picture: [n, t, d] or, without pooling, [n, d] → [n, d]."""
    if pooling is Pooling.CLS:
        return made[:, 0]
    if pooling is Pooling.MEAN:
        return np.asarray(made[:, skipped:].mean(axis=1), np.float32)
    if pooling is Pooling.NONE:
        return made
    raise ManifestError(f"pictures have no pooling {pooling.value}")
