"""What an image file says about itself, read before a single pixel is decoded.

A decoder allocates what a header declares, so the declared size is checked first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_media._opencv import MAX_DECODED_PIXELS

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked; Pillow's is a process-wide warning

_PLUGINS: dict[str, Callable[[BytesIO], Image.Image]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
IMAGE_FORMATS = tuple(_PLUGINS)
"""The formats that can be read, by Pillow's names."""

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be."""

    max_bytes: int = 32 << 20
    """Bytes of the file."""
    max_pixels: int = 100_000_000
    """Width times height, as the header declares them."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes declare."""

    format: str
    """One of `IMAGE_FORMATS`."""
    width: int
    """Columns of the upright picture."""
    height: int
    """Rows of the upright picture."""
    orientation: int
    """How the stored picture is turned, as EXIF counts, from 1 (upright) to 8."""
    has_alpha: bool
    """Whether pixels may be transparent."""


def probe_image(data: bytes, limits: ImageLimits | None = None) -> ImageHeader:
    """Read the header of an image file and check it against the limits.

    Raises InvalidContentError (empty or damaged), UnsupportedMediaError (no image that can be
    read here) or LimitExceededError.
    """
    limits = limits or ImageLimits()
    if not data:
        raise InvalidContentError("the image is empty")
    if len(data) > limits.max_bytes:
        raise LimitExceededError(
            f"the image has {len(data)} bytes; at most {limits.max_bytes} are allowed"
        )
    header = _read_header(data, _sniff(data))
    _check_size(header, limits)
    return header


def _sniff(data: bytes) -> str:
    """Tell the format by its signature, so that a damaged file is not called an unknown one."""
    if data[4:8] == b"ftyp" and (b"avif" in data[8:64] or b"avis" in data[8:64]):
        return "AVIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, name in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
    ):
        if data.startswith(signature):
            return name
    readable = ", ".join(IMAGE_FORMATS)
    raise UnsupportedMediaError(f"these bytes are no image that can be read here ({readable})")


def _read_header(data: bytes, name: str) -> ImageHeader:
    try:
        with _PLUGINS[name](BytesIO(data)) as image:
            _refuse_unreadable_samples(image)
            orientation = _orientation(image)
            width, height = image.size
            alpha = image.has_transparency_data
    except (
        SyntaxError,
        OSError,
        ValueError,
        EOFError,
        struct.error,
        KeyError,
        IndexError,
    ) as error:
        raise InvalidContentError(f"the {name} header is damaged or truncated") from error
    if orientation in _SIDEWAYS:
        width, height = height, width
    return ImageHeader(name, width, height, orientation, alpha)


def _refuse_unreadable_samples(image: Image.Image) -> None:
    if image.format == "TIFF" and image.mode in {"F", "I"}:
        raise UnsupportedMediaError("TIFF with 32-bit samples cannot be read here")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation. `Image.getexif` would decode a whole PNG to find it."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = image.tag_v2.get(_ORIENTATION_TAG)
    else:
        value = _exif_orientation(image.info.get("exif"))
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif_orientation(block: object) -> object:
    if not isinstance(block, bytes):
        return None
    exif = Image.Exif()
    try:
        exif.load(block)
        return exif.get(_ORIENTATION_TAG)
    except (SyntaxError, OSError, ValueError, struct.error, KeyError, TypeError):
        return None  # damaged EXIF does not make the picture unreadable


def _check_size(header: ImageHeader, limits: ImageLimits) -> None:
    if header.width < 1 or header.height < 1:
        raise InvalidContentError(f"the {header.format} declares an empty picture")
    allowed = min(limits.max_pixels, MAX_DECODED_PIXELS)
    if header.width * header.height > allowed:
        raise LimitExceededError(
            f"the image declares {header.width}x{header.height} pixels; "
            f"at most {allowed} are allowed"
        )
