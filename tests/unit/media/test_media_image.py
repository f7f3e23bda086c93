"""Raw pixels, regions and scaling."""

import numpy as np
import pytest

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_media import (
    Box,
    ImageLimits,
    PixelFormat,
    RawImage,
    crop_image,
    raw_image,
    resize_pixels,
)


def numbered(width: int, height: int) -> RawImage:
    data = np.arange(width * height * 3, dtype=np.uint32).astype(np.uint8).tobytes()
    return raw_image(data, width, height)


def test_raw_rgb_is_taken_as_it_is() -> None:
    image = numbered(4, 3)
    assert image.pixels.shape == (3, 4, 3)
    assert image.pixels[0, 1].tolist() == [3, 4, 5]


def test_raw_grey_becomes_colour() -> None:
    image = raw_image(bytes([7, 9]), 2, 1, PixelFormat.GRAY8)
    assert image.pixels.tolist() == [[[7, 7, 7], [9, 9, 9]]]


@pytest.mark.parametrize(("size", "width", "height"), [(11, 2, 2), (13, 2, 2), (0, 0, 5)])
def test_raw_pixels_must_fit_their_size(size: int, width: int, height: int) -> None:
    with pytest.raises(InvalidContentError):
        raw_image(bytes(size), width, height)


def test_raw_pixels_are_limited() -> None:
    with pytest.raises(LimitExceededError):
        raw_image(b"", 60_000, 60_000)
    with pytest.raises(LimitExceededError):
        raw_image(bytes(12), 2, 2, limits=ImageLimits(max_pixels=3))


def test_a_region_is_cut_out() -> None:
    image = numbered(8, 6)
    part = crop_image(image, Box(2, 1, 3, 4))
    assert np.array_equal(part.pixels, image.pixels[1:5, 2:5])
    assert (part.source_width, part.source_height) == (3, 4)


def test_regions_count_in_pixels_of_the_full_scale() -> None:
    reduced = RawImage(numbered(100, 50).pixels, source_width=400, source_height=200)
    part = crop_image(reduced, Box(200, 100, 200, 100))
    assert np.array_equal(part.pixels, reduced.pixels[25:, 50:])


def test_a_tiny_region_keeps_a_pixel() -> None:
    reduced = RawImage(numbered(10, 10).pixels, source_width=80, source_height=80)
    assert crop_image(reduced, Box(79, 79, 1, 1)).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize(
    "box", [Box(0, 0, 9, 1), Box(8, 0, 1, 1), Box(0, 5, 1, 2), Box(-1, 0, 2, 2), Box(0, 0, 0, 1)]
)
def test_a_region_outside_is_refused(box: Box) -> None:
    with pytest.raises(InvalidContentError, match="not within"):
        crop_image(numbered(8, 6), box)


def test_shrinking_averages() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0] = 200
    assert resize_pixels(pixels, 1, 1).tolist() == [[[100, 100, 100]]]


def test_the_same_size_is_left_alone() -> None:
    pixels = numbered(5, 4).pixels
    assert resize_pixels(pixels, 5, 4) is pixels
