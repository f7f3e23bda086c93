"""What a camera wrote into a picture: which one it was, when, how it was held, and where."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from lookalike_media._header import ImageHeader

_READERS: Mapping[str, Callable[[BytesIO], Image.Image]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_MAKE, _MODEL, _CHANGED = 0x010F, 0x0110, 0x0132
_EXIF, _TAKEN, _OFFSET = 0x8769, 0x9003, 0x9011
_GPS, _LATITUDE, _LONGITUDE, _ALTITUDE = 0x8825, 2, 4, 6
_MAX_WORDS = 256
_DAMAGE = (
    *(SyntaxError, OSError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError),
    *(AttributeError, ZeroDivisionError, OverflowError),
    UserWarning,  # Pillow's about damage, where warnings are errors
)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a picture was taken, in degrees and metres (WGS 84)."""

    latitude: float
    longitude: float
    altitude: float | None


@dataclass(frozen=True, slots=True)
class Exif:
    """What is known; damaged tags count as missing."""

    camera_make: str = ""
    camera_model: str = ""
    taken_at: datetime | None = None
    """A camera's clock without a time zone counts as UTC."""
    location: Location | None = None


def read_exif(data: bytes, header: ImageHeader) -> Exif:
    """Read a picture's EXIF; an empty one where there is none, or it is damaged."""
    if header.format not in _READERS:
        return Exif()
    try:
        with _READERS[header.format](BytesIO(data)) as image:
            tags = _tags(image)
            return Exif(
                camera_make=_words(tags.get(_MAKE)),
                camera_model=_words(tags.get(_MODEL)),
                taken_at=_moment(tags),
                location=_location(tags),
            )
    except _DAMAGE:
        return Exif()


def _tags(image: Image.Image) -> Image.Exif:
    """Return the tags. `getexif` of a PNG would decode the whole picture to find them."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.getexif()
    tags = Image.Exif()
    block = image.info.get("exif")
    if isinstance(block, bytes):
        tags.load(block)
    return tags


def _words(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(each for each in text if each.isprintable())[:_MAX_WORDS].strip()


def _moment(tags: Image.Exif) -> datetime | None:
    details = _directory(tags, _EXIF)
    text = details.get(_TAKEN) or tags.get(_CHANGED)
    try:
        taken = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007 - below
    except ValueError:
        return None
    return taken.replace(tzinfo=_zone(details.get(_OFFSET)))


def _zone(value: object) -> timezone:
    try:
        return timezone(datetime.strptime(str(value).strip("\0 "), "%z").utcoffset() or timedelta())
    except ValueError:
        return UTC


def _location(tags: Image.Exif) -> Location | None:
    place = _directory(tags, _GPS)
    if _LATITUDE not in place or _LONGITUDE not in place:
        return None
    latitude = _degrees(place, _LATITUDE, "S")
    longitude = _degrees(place, _LONGITUDE, "W")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return Location(latitude, longitude, _altitude(place))


def _degrees(place: Mapping[int, Any], tag: int, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(each) for each in place[tag])
    except _DAMAGE:
        return None
    total = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(total):  # Pillow makes NaN of 0/0
        return None
    return -total if str(place.get(tag - 1)).strip("\0 ") == negative else total


def _altitude(place: Mapping[int, Any]) -> float | None:
    try:
        metres = float(place[_ALTITUDE])
    except _DAMAGE:
        return None
    if not math.isfinite(metres):
        return None
    return -metres if place.get(_ALTITUDE - 1) in (1, b"\1") else metres


# Any: Pillow's values are of whatever type the file says.
def _directory(tags: Image.Exif, tag: int) -> Mapping[int, Any]:
    try:
        return dict(tags.get_ifd(tag))
    except _DAMAGE:
        return {}
