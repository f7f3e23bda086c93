"""Image files into upright, opaque RGB pixels, within limits."""

from __future__ import annotations

import numpy as np

from lookalike_common.errors import InvalidContentError
from lookalike_media._header import ImageHeader, ImageLimits, probe_image
from lookalike_media._image import Pixels, RawImage
from lookalike_media._opencv import cv2

_REDUCED_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_STRIP_PIXELS = 1 << 20

_TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels.transpose(1, 0, 2)[:, ::-1],
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda pixels: pixels.transpose(1, 0, 2)[::-1],
}
"""How to turn a stored picture upright, by its EXIF orientation."""


def decode_image(
    data: bytes,
    limits: ImageLimits | None = None,
    *,
    header: ImageHeader | None = None,
    min_side: int | None = None,
) -> RawImage:
    """Decode a still image; of an animation the first frame counts.

    EXIF rotation is applied and transparency laid on white. A JPEG is decoded at the smallest
    scale whose shorter side still has `min_side` pixels, which is many times faster. `header`
    saves reading it twice.

    Raises what `probe_image` raises, and InvalidContentError where pixels are damaged or missing.
    """
    header = header or probe_image(data, limits)
    scale = reduction(header, min_side)
    stored = _decode_stored(data, header, scale)
    _check_decoded_size(stored, header, scale)
    opaque = _lay_on_white(stored) if stored.shape[2] == 4 else stored
    red_first = np.asarray(cv2.cvtColor(opaque, cv2.COLOR_BGR2RGB), np.uint8)
    if header.orientation > 1:
        red_first = np.ascontiguousarray(_TURNS[header.orientation](red_first))
    return RawImage(red_first, header.width, header.height)


def reduction(header: ImageHeader, min_side: int | None) -> int:
    """Return the scale 1, 2, 4 or 8 by which the picture may shrink while it is decoded."""
    if header.format != "JPEG" or min_side is None:
        return 1
    shorter = min(header.width, header.height)
    return max((scale for scale in _REDUCED_FLAGS if shorter // scale >= min_side), default=1)


def _decode_stored(data: bytes, header: ImageHeader, scale: int) -> Pixels:
    """Decode as stored, not turned: uint8 [rows, columns, 3 or 4], blue first."""
    flags = (
        cv2.IMREAD_UNCHANGED
        if header.has_alpha
        else _REDUCED_FLAGS[scale] | cv2.IMREAD_IGNORE_ORIENTATION
    )
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InvalidContentError(f"the {header.format} image cannot be decoded") from error
    if decoded is None:
        raise InvalidContentError(f"the {header.format} image is damaged or truncated")
    return _as_bytes_of_colour(np.asarray(decoded))


def _as_bytes_of_colour(decoded: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Pixels:
    """Make grey and 16-bit pictures, which only the path for transparency returns, uint8 colour."""
    if decoded.dtype == np.uint16:
        decoded = (decoded.astype(np.uint32) + 128) // 257
    pixels = decoded.astype(np.uint8, copy=False)
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels


def _check_decoded_size(stored: Pixels, header: ImageHeader, scale: int) -> None:
    """Refuse a file whose pixels contradict the header that was checked."""
    rows, columns = stored.shape[:2]
    if header.orientation >= 5:
        rows, columns = columns, rows
    expected = (-(-header.height // scale), -(-header.width // scale))
    if (rows, columns) != expected:
        raise InvalidContentError(
            f"the {header.format} image decodes to {columns}x{rows} pixels although its header "
            f"declares {header.width}x{header.height}"
        )


def _lay_on_white(pixels: Pixels) -> Pixels:
    """Blend with white by the fourth channel, in strips that keep the memory needed small."""
    opaque = np.empty((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows]
        alpha = strip[:, :, 3:].astype(np.uint32)
        colour = strip[:, :, :3].astype(np.uint32)
        opaque[top : top + rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return opaque
