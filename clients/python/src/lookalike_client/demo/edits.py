"""What people do to photos before they search with them."""

import io
from collections.abc import Callable, Mapping

from PIL import Image, ImageOps

Edit = Callable[[Image.Image], bytes]

_KEPT = 0.75  # of width and of height, by a crop


def upright(data: bytes) -> Image.Image:
    """The picture as people see it, RGB: rotated as its EXIF says, on white where transparent."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def crop(picture: Image.Image) -> bytes:
    """Three quarters of width and height, from the middle."""
    width, height = picture.size
    left, top = round(width * (1 - _KEPT) / 2), round(height * (1 - _KEPT) / 2)
    return _png(picture.crop((left, top, width - left, height - top)))


def flip(picture: Image.Image) -> bytes:
    """Mirrored, left and right exchanged."""
    return _png(ImageOps.mirror(picture))


def jpeg_20(picture: Image.Image) -> bytes:
    """Saved as a JPEG of quality 20: small, with blocks and smears."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=20)
    return buffer.getvalue()


def grey(picture: Image.Image) -> bytes:
    """Without colours."""
    return _png(ImageOps.grayscale(picture))


EDITS: Mapping[str, Edit] = {"crop": crop, "flip": flip, "JPEG 20": jpeg_20, "grey": grey}
"""The edits by their names, in the order in which they are shown."""

MUST_BE_FOUND = ("flip", "JPEG 20")
"""The edits whose originals must be found first for the demonstration to succeed."""


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
