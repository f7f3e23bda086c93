"""Pictures are handed on whole, and cut into tiles and objects."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike_common.errors import LimitExceededError
from lookalike_ingest.encoding import Content, FoundObject, RawPicture
from lookalike_ingest.entities import AttributeType
from lookalike_ingest.job import ImageOptions, SplitterOptions
from lookalike_ingest.media_types import Modality
from lookalike_ingest.segments import Box
from lookalike_ingest.splitters.image import ImageSplitters
from lookalike_ingest.steps.split import Kind, Part
from lookalike_media import ImageLimits
from tests.support.splitting import (
    InlineDecoder,
    PlannedFinder,
    original_of,
    parts_of,
    split_context,
)

PIXELS = np.random.default_rng(3).integers(0, 255, (20, 30, 3), np.uint8)
SPLITTERS = ImageSplitters(InlineDecoder(), ImageLimits(), max_parts=6)
OBJECTS = (FoundObject("cat", 0.875, Box(5, 4, 10, 8)), FoundObject("dog", 0.5, Box(0, 0, 3, 20)))
CAMERA = dict.fromkeys(("camera_make", "taken_at"), AttributeType.STRING)
PLACE = dict.fromkeys(("latitude", "longitude", "altitude"), AttributeType.DOUBLE)


def picture(pixels: np.ndarray[Any, Any] = PIXELS, **exif: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **exif)
    return buffer.getvalue()


def split(options: ImageOptions, finder: PlannedFinder | None = None, **more: Any) -> list[Part]:
    data = more.pop("data", picture())
    context = split_context(SplitterOptions(image=options), finder=finder, **more)
    return parts_of(SPLITTERS.make, context, original_of(data))


def pixels_of(part: Part) -> np.ndarray[Any, Any]:
    assert part.content is not None
    assert isinstance(part.content.raw, RawPicture)
    shape = (part.content.raw.height, part.content.raw.width, 3)
    return np.frombuffer(part.content.data, np.uint8).reshape(shape)


def boxes_of(parts: list[Part]) -> list[Box | None]:
    found = [part.segment.span if part.segment else None for part in parts]
    return [each if isinstance(each, Box) else None for each in found]


def test_a_picture_stays_whole_and_undecoded() -> None:
    data = picture()
    (part,) = split(ImageOptions(), data=data)
    assert part.content == Content(Modality.IMAGE, data, "image/png")
    assert part.segment is None
    assert part.attributes == {"width": 30, "height": 20}


def test_tiles_follow_the_whole() -> None:
    parts = split(ImageOptions(tile_pixels=15))
    assert boxes_of(parts) == [
        None,
        Box(0, 0, 15, 15),
        Box(15, 0, 15, 15),
        Box(0, 5, 15, 15),
        Box(15, 5, 15, 15),
    ]
    assert (pixels_of(parts[4]) == PIXELS[5:20, 15:30]).all()


def test_objects_come_before_tiles_with_what_they_are() -> None:
    finder = PlannedFinder(OBJECTS)
    options = ImageOptions("encoders/d", 20, parts_only=True, min_score=0.25)
    parts = split(options, finder)
    assert boxes_of(parts) == [
        *(each.box for each in OBJECTS),
        Box(0, 0, 20, 20),
        Box(10, 0, 20, 20),
    ]
    assert (pixels_of(parts[0]) == PIXELS[4:12, 5:15]).all()
    assert parts[1].attributes == {"width": 30, "height": 20, "label": "dog", "label_score": 0.5}
    assert "label" not in parts[2].attributes
    ((asked, how),) = finder.asked
    assert (asked.data, how) == (picture(), options)


def test_a_picture_without_objects_stays_whole_or_is_nothing() -> None:
    assert boxes_of(split(ImageOptions("encoders/d"))) == [None]
    assert split(ImageOptions("encoders/d", parts_only=True)) == []


def test_the_only_tile_is_no_part_beside_the_whole() -> None:
    assert boxes_of(split(ImageOptions(tile_pixels=30))) == [None]
    assert boxes_of(split(ImageOptions(tile_pixels=30, parts_only=True))) == [Box(0, 0, 30, 20)]


def test_parts_only_without_parts_means_nothing() -> None:
    assert boxes_of(split(ImageOptions(parts_only=True))) == [None]


def test_too_many_tiles_are_refused() -> None:
    assert len(split(ImageOptions(tile_pixels=10))) == 7
    with pytest.raises(LimitExceededError, match="12 tiles of 9"):
        split(ImageOptions(tile_pixels=9))


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132], exif[0x0112] = "ACME", "2024:05:06 07:08:09", 6
    exif.get_ifd(0x8825).update({1: "N", 2: (10.0, 30.0, 0.0), 3: "W", 4: (20.0, 0.0, 0.0), 6: 7.5})
    return picture(exif=exif)


def test_the_camera_is_named_where_the_collection_asks_for_it() -> None:
    upright = {"width": 20, "height": 30}
    (part,) = split(ImageOptions(), data=with_exif())
    assert part.attributes == upright
    (part,) = split(ImageOptions(), data=with_exif(), declared=CAMERA)
    camera = {"camera_make": "ACME", "taken_at": "2024-05-06T07:08:09+00:00"}
    assert part.attributes == upright | camera


def test_the_place_is_kept_only_where_the_job_says_so() -> None:
    (part,) = split(ImageOptions(), data=with_exif(), declared=CAMERA | PLACE)
    assert "latitude" not in part.attributes
    (part,) = split(ImageOptions(), data=with_exif(), declared=PLACE, keep_location=True)
    assert {name: part.attributes.get(name) for name in PLACE} == {
        "latitude": 10.5,
        "longitude": -20.0,
        "altitude": 7.5,
    }


def test_other_options_make_other_entities() -> None:
    def identity(options: ImageOptions, **more: Any) -> str:
        original = original_of(picture())
        context = split_context(SplitterOptions(image=options), **more)
        kind = Kind(Modality.IMAGE, original.media_type, "", original.size)
        return SPLITTERS.make(context, kind).identity

    options = [
        ImageOptions(),
        ImageOptions(tile_pixels=8),
        ImageOptions(tile_pixels=8, parts_only=True),
        ImageOptions("encoders/d"),
        ImageOptions("encoders/d", min_score=0.5),
    ]
    names = [identity(each) for each in options]
    names.append(identity(ImageOptions(), declared=PLACE, keep_location=True))
    assert len(set(names)) == len(names)
