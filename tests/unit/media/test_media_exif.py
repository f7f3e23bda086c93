"""What cameras write into pictures, and what becomes of it when it is damaged."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike_media import Exif, Location, probe_image, read_exif

TAKEN = "2024:05:06 07:08:09"
PLACE = {1: "S", 2: (10.0, 30.0, 36.0), 3: "E", 4: (20.0, 0.0, 0.0), 5: b"\1", 6: 12.5}


def picture(
    kind: str = "JPEG",
    tags: dict[int, Any] | None = None,
    details: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
) -> bytes:
    """Return a picture with EXIF tags, those of its details and of its place."""
    exif = Image.Exif()
    exif.update(tags or {})
    exif.get_ifd(0x8769).update(details or {})
    exif.get_ifd(0x8825).update(place or {})
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def read(data: bytes) -> Exif:
    return read_exif(data, probe_image(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_camera_is_read(kind: str) -> None:
    data = picture(
        kind, {0x010F: "ACME ", 0x0110: "Cam 1\0"}, {0x9003: TAKEN, 0x9011: "+02:00"}, PLACE
    )
    zone = timezone(timedelta(hours=2))
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=zone)
    assert read(data) == Exif("ACME", "Cam 1", moment, Location(-10.51, 20.0, -12.5))


def test_a_tiff_has_its_camera() -> None:
    exif = read(picture("TIFF", {0x010F: "ACME", 0x0132: TAKEN}))
    assert exif == Exif("ACME", "", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC))


def test_a_clock_without_a_zone_is_utc() -> None:
    assert read(picture(tags={0x0132: TAKEN})).taken_at == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "AVIF"])
def test_pictures_without_exif_have_none(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, kind)
    assert read(buffer.getvalue()) == Exif()


@pytest.mark.parametrize(
    ("tags", "details", "place"),
    [
        ({0x0132: "0000:00:00 00:00:00"}, {}, {}),
        ({0x0132: "yesterday"}, {0x9011: "here"}, {}),
        ({}, {}, {2: (95.0, 0.0, 0.0), 4: (20.0, 0.0, 0.0)}),
        ({}, {}, {2: (10.0, 0.0), 4: (20.0, 0.0, 0.0)}),
        ({}, {}, {1: "N", 2: (10.0, 0.0, 0.0)}),
    ],
)
def test_nonsense_counts_as_missing(
    tags: dict[int, Any], details: dict[int, Any], place: dict[int, Any]
) -> None:
    assert read(picture("JPEG", tags, details, place)) == Exif()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_exif_never_raises(data: st.DataObject) -> None:
    damaged = bytearray(
        picture("JPEG", {0x010F: "ACME", 0x0110: "Cam"}, {0x9003: TAKEN, 0x9011: "+02:00"}, PLACE)
    )
    begin = damaged.index(b"Exif\0\0") + 6
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(begin, begin + 250))
        damaged[position] = data.draw(st.integers(0, 255))
    header = probe_image(picture())
    assert isinstance(read_exif(bytes(damaged), header), Exif)
