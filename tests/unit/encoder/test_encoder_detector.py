"""Detectors on a real model that anybody can work out: boxes, labels, and what is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike_common.errors import EncoderNotReadyError, LookalikeError
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import ImageContent, Item, Operation, RawImageContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.settings import DeviceSettings
from lookalike_media import PixelFormat
from tests.support.tiny_detector import (
    LABELS,
    NAME,
    SIDE,
    as_png,
    cells,
    describe,
    detector_model,
    install_tiny_detector,
    picture,
)

Load = Callable[..., Encoder]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Installs the detector, perhaps changed, and loads it as a server does."""
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(DeviceSettings(kind="cpu"), threads)

        def load(model: bytes | None = None, **changes: Any) -> Encoder:
            manifests, models = tmp_path / "manifests", tmp_path / "models"
            install_tiny_detector(manifests, models, model, **changes)
            catalogue = discover([manifests])
            loader = EncoderLoader(catalogue, ModelStore(models), runtime)
            return loader.load(catalogue.find(NAME))

        yield load


def rows_of(encoder: Encoder, *pictures: NDArray[np.uint8]) -> list[Row]:
    items = [Item(ImageContent(as_png(each)), operation=Operation.DETECT) for each in pictures]
    prepared = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in prepared), prepared
    return [row for each in prepared if isinstance(each, Prepared) for row in each.rows]


def objects(encoder: Encoder, pixels: NDArray[np.uint8]) -> list[tuple[str, list[float]]]:
    (found,) = encoder.encode(rows_of(encoder, pixels))
    return sorted((LABELS[int(each[5])], each[:4].tolist()) for each in found)


def preprocessing(**changes: Any) -> dict[str, Any]:
    same: dict[str, Any] = describe(b"")["preprocessing"]
    return {**same, **changes}


def test_cells_are_found_where_they_are(load: Load) -> None:
    encoder = load()
    assert encoder.operations == {Operation.DETECT}
    assert encoder.labels == LABELS
    found = objects(encoder, picture((0, 0, "red"), (3, 2, "blue")))
    assert found == [("blue", [48, 32, 64, 48]), ("red", [0, 0, 16, 16])]


def test_boxes_count_pixels_of_the_upright_picture(load: Load) -> None:
    """A wide picture is letterboxed: its boxes move and grow, and are cut off at its edge."""
    wide = picture((1, 1, "green"), scale=2)[32:96]  # 128 by 64, in the middle of the frame
    found = objects(load(), wide)
    assert found == [("green", [32, 0, 64, 32])]


def test_stretched_pictures_have_their_own_scale_each_way(load: Load) -> None:
    encoder = load(preprocessing=preprocessing(fit="stretch"))
    wide = picture((2, 3, "red")).repeat(3, axis=1)
    assert objects(encoder, wide) == [("red", [96, 48, 144, 64])]


@pytest.mark.parametrize(
    ("layout", "unit", "boxes"),
    [
        ("rows-first", "pixel", cells()[:, [1, 0, 3, 2]]),
        ("corners", "frame", cells() / SIDE),
        (
            "centre",
            "pixel",
            np.concatenate([(cells()[:, :2] + cells()[:, 2:]) / 2, np.full((16, 2), 16)], axis=1),
        ),
    ],
)
def test_boxes_may_be_written_in_other_ways(
    load: Load, layout: str, unit: str, boxes: NDArray[np.float32]
) -> None:
    model = detector_model(boxes=boxes.astype(np.float32))
    encoder = load(model, preprocessing=preprocessing(layout=layout, unit=unit))
    assert objects(encoder, picture((3, 1, "red"))) == [("red", [48, 16, 64, 32])]


def test_models_may_take_floats_with_channels_first(load: Load) -> None:
    values = preprocessing(channels="first", scale=[255, 255, 255])
    encoder = load(detector_model(floats=True, first=True), preprocessing=values)
    assert objects(encoder, picture((3, 1, "red"))) == [("red", [48, 16, 64, 32])]


def test_pictures_give_the_same_objects_alone_and_in_company(load: Load) -> None:
    encoder = load()
    random = np.random.default_rng(3).integers(0, 255, (5, 48, 80, 3), np.uint8)
    rows = rows_of(encoder, *random)
    together = encoder.encode(rows)
    for row, found in zip(rows, together, strict=True):
        (alone,) = encoder.encode([row])
        assert len(found) > 0
        assert found.shape == alone.shape
        assert np.abs(found - alone).max() < 1e-5


def test_raw_pixels_have_objects_too(load: Load) -> None:
    pixels = picture((2, 2, "green"))
    content = RawImageContent(pixels.tobytes(), SIDE, SIDE, PixelFormat.RGB8)
    (prepared,) = load().prepare([Item(content, operation=Operation.DETECT)])
    assert isinstance(prepared, Prepared)
    assert (prepared.width, prepared.height) == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"detection": None}, "needs `detection`"),
        (
            {"detection": {**describe(b"")["detection"], "labels": ["one", "red"]}},
            "3 labels, not 2",
        ),
        ({"preprocessing": preprocessing(scores="none")}, "none"),
        (
            {"detection": {**describe(b"")["detection"], "labels": ["blue", "green", "red"]}},
            "lacks the object",
        ),
        ({"preprocessing": preprocessing(layout="centre")}, "lacks the object"),
    ],
)
def test_detectors_that_are_wrong_are_refused(
    load: Load, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(EncoderNotReadyError, match=said):
        load(**changes)


def test_damaged_pictures_fail_alone(load: Load) -> None:
    good, bad = as_png(picture()), as_png(picture())[:60]
    results = load().prepare([Item(ImageContent(each)) for each in (good, bad)])
    assert isinstance(results[0], Prepared)
    assert isinstance(results[1], LookalikeError)
    assert results[1].field == "content"
