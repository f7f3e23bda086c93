"""The detector that is installed only when asked for, on real photos. Run by `make test-models`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import Item, Operation, RawImageContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.settings import DeviceSettings
from lookalike_media import PixelFormat

MODELS = Path(
    os.environ.get("LOOKALIKE_ENCODER__MODELS_DIR")
    or Path(__file__).parents[2] / ".lookalike" / "models"
)


@pytest.fixture(scope="module")
def nanodet() -> Iterator[Encoder]:
    """The detector, which has proved itself by its golden objects."""
    catalogue, store = discover(), ModelStore(MODELS)
    manifest = catalogue.find("nanodet")
    if not store.is_present(manifest):
        pytest.skip("run `lookalike-encoder models install nanodet`")
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(DeviceSettings(kind="cpu"), threads)
        yield EncoderLoader(catalogue, store, runtime).load(manifest)


def rows_of(encoder: Encoder, *names: str) -> list[Row]:
    items = []
    for name in names:
        pixels: NDArray[np.uint8] = np.ascontiguousarray(getattr(data, name)())
        height, width = pixels.shape[:2]
        content = RawImageContent(pixels.tobytes(), width, height, PixelFormat.RGB8)
        items.append(Item(content, operation=Operation.DETECT))
    prepared = encoder.prepare(items)
    return [row for each in prepared if isinstance(each, Prepared) for row in each.rows]


def test_photos_show_what_they_show(nanodet: Encoder) -> None:
    found = nanodet.encode(rows_of(nanodet, "astronaut", "chelsea"))
    assert [nanodet.labels[int(each[0, 5])] for each in found] == ["person", "cat"]
    assert all(each[0, 4] > 0.5 for each in found)


def test_photos_give_the_same_objects_alone_and_in_company(nanodet: Encoder) -> None:
    rows = rows_of(nanodet, "astronaut", "chelsea", "coffee")
    for row, together in zip(rows, nanodet.encode(rows), strict=True):
        (alone,) = nanodet.encode([row])
        assert alone.shape == together.shape
        assert np.abs(alone[:, 4] - together[:, 4]).max() < 1e-5
        assert np.abs(alone[:, :4] - together[:, :4]).max() < 0.01  # of a pixel
