"""Hashes of pictures: near for edited copies, far for other pictures."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from skimage import data

import lookalike_encoder
from lookalike_common.errors import InvalidContentError, UnsupportedMediaError, WrongModalityError
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions
from lookalike_encoder.content import ImageContent, Item, RawImageContent, TextContent
from lookalike_encoder.encoder import Prepared
from lookalike_encoder.encoders.phash import PhashEncoder
from lookalike_encoder.golden import check_golden
from lookalike_encoder.manifest import ManifestError, load_manifest
from lookalike_media import Box, PixelFormat

MODELS = Path(lookalike_encoder.__file__).parent / "models"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins")
SAME = 32
"""Bits by which an edited copy may differ."""


@pytest.fixture(scope="module")
def encoder() -> Iterator[PhashEncoder]:
    with ThreadPoolExecutor(2) as threads:
        runtime = LocalRuntime(OrtOptions(device="cpu"), threads)
        yield PhashEncoder(load_manifest(MODELS / "phash-256"), {}, runtime)


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)()).convert("RGB")


def saved(image: Image.Image, file_format: str = "PNG", quality: int = 75) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, quality=quality)
    return buffer.getvalue()


def hashes(encoder: PhashEncoder, *items: Item) -> list[NDArray[np.uint8]]:
    results = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in results), results
    rows = [row for each in results if isinstance(each, Prepared) for row in each.rows]
    return encoder.encode(rows)


def hash_of(encoder: PhashEncoder, image: Image.Image) -> NDArray[np.uint8]:
    return hashes(encoder, Item(ImageContent(saved(image))))[0]


def distance(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(left ^ right).sum())


def test_bits_are_those_of_an_independent_implementation(encoder: PhashEncoder) -> None:
    check_golden(encoder)


def compress(image: Image.Image) -> Image.Image:
    return Image.open(BytesIO(saved(image, "JPEG", 40)))


def shrink(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def stretch(image: Image.Image) -> Image.Image:
    return image.resize((image.width, image.height * 3 // 2))


def brighten(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


def flatten(image: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(0.8)


def discolour(image: Image.Image) -> Image.Image:
    return image.convert("L")


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1))


@pytest.mark.parametrize("edit", [compress, shrink, stretch, brighten, flatten, discolour, blur])
def test_edited_copies_are_near(
    encoder: PhashEncoder, edit: Callable[[Image.Image], Image.Image]
) -> None:
    for name in PHOTOS:
        original = hash_of(encoder, photo(name))
        assert distance(original, hash_of(encoder, edit(photo(name)))) <= SAME, name


def test_other_pictures_are_far(encoder: PhashEncoder) -> None:
    made = [hash_of(encoder, photo(name)) for name in PHOTOS]
    for index, left in enumerate(made):
        for right in made[:index]:
            assert distance(left, right) > 3 * SAME


def test_bits_are_the_same_alone_and_in_company(encoder: PhashEncoder) -> None:
    items = [Item(ImageContent(saved(photo(name), "JPEG"))) for name in PHOTOS]
    together = [each.tobytes() for each in hashes(encoder, *items)]
    assert together == [hashes(encoder, item)[0].tobytes() for item in items]
    assert len(set(together)) == len(PHOTOS)
    assert {len(each) for each in together} == {32}


def test_half_of_the_bits_are_set(encoder: PhashEncoder) -> None:
    assert {int(np.bitwise_count(hash_of(encoder, photo(name))).sum()) for name in PHOTOS} == {128}


@pytest.mark.parametrize("colour", ["white", "black", "#7f3355"])
def test_a_picture_of_one_colour_has_no_bits(encoder: PhashEncoder, colour: str) -> None:
    assert not hash_of(encoder, Image.new("RGB", (300, 200), colour)).any()


def test_raw_pixels_are_the_same_as_a_file(encoder: PhashEncoder) -> None:
    image = photo("coffee")
    raw = RawImageContent(image.tobytes(), image.width, image.height, PixelFormat.RGB8)
    first, second = hashes(encoder, Item(raw), Item(ImageContent(saved(image))))
    assert first.tobytes() == second.tobytes()


def test_each_region_has_a_hash(encoder: PhashEncoder) -> None:
    image = photo("astronaut")
    boxes = (Box(0, 0, 256, 256), Box(100, 150, 300, 200))
    item = Item(ImageContent(saved(image)), boxes)
    made = hashes(encoder, item)
    assert encoder.estimate(item) == 2
    for box, found in zip(boxes, made, strict=True):
        part = image.crop((box.x, box.y, box.x + box.width, box.y + box.height))
        assert distance(found, hash_of(encoder, part)) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (64, 64), (63, 65)])
def test_extreme_pictures_have_hashes(encoder: PhashEncoder, size: tuple[int, int]) -> None:
    assert hash_of(encoder, Image.new("RGB", size, "teal")).shape == (32,)


def test_what_is_no_picture_fails_alone(encoder: PhashEncoder) -> None:
    good = saved(photo("chelsea"))
    results = encoder.prepare(
        [
            Item(ImageContent(good)),
            Item(ImageContent(b"")),
            Item(ImageContent(b"no picture")),
            Item(ImageContent(good[:-1000])),
            Item(TextContent("words")),
            Item(ImageContent(good), (Box(0, 0, 9000, 1),)),
            Item(ImageContent(good)),
        ]
    )
    assert [(type(each), getattr(each, "field", "")) for each in results] == [
        (Prepared, ""),
        (InvalidContentError, "content"),
        (UnsupportedMediaError, "content"),
        (InvalidContentError, "content"),
        (WrongModalityError, "content"),
        (InvalidContentError, "regions[0]"),
        (Prepared, ""),
    ]


def test_a_manifest_with_other_dimensions_is_refused(encoder: PhashEncoder) -> None:
    manifest = encoder.manifest.model_copy(update={"dimensions": 64})
    with pytest.raises(ManifestError, match="256 bits"):
        PhashEncoder(manifest, {}, LocalRuntime(OrtOptions(device="cpu"), ThreadPoolExecutor(1)))
