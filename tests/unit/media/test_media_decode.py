"""Every kind of still that callers send, and every way in which one can be broken."""

import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    UnsupportedMediaError,
)
from lookalike_media import ImageLimits, Pixels, decode_image, probe_image, reduction


def gradient(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 // width, rows * 255 // height
    pixels = np.stack([red, green, (red + green) // 2], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def difference(pixels: Pixels, expected: Image.Image) -> float:
    reference = np.asarray(expected.convert("RGB"), dtype=np.int16)
    assert pixels.shape == reference.shape
    return float(np.abs(pixels - reference).mean())


def animation(file_format: str) -> bytes:
    first = gradient(64, 48)
    return encoded(
        first, file_format, save_all=True, append_images=[ImageOps.invert(first)], duration=100
    )


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("AVIF", {"quality": 95}, 2),
    ],
)
def test_formats_decode_to_rgb(file_format: str, options: dict[str, Any], tolerance: float) -> None:
    image = gradient(64, 48)

    decoded = decode_image(encoded(image, file_format, **options))

    assert (decoded.width, decoded.height) == (64, 48)
    assert decoded.pixels.dtype == np.uint8
    assert difference(decoded.pixels, image) <= tolerance


def test_gif_decodes_to_its_palette() -> None:
    image = gradient(64, 48).quantize(64)
    assert difference(decode_image(encoded(image, "GIF")).pixels, image) == 0


@pytest.mark.parametrize(("mode", "file_format"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG")])
def test_grey_becomes_colour(mode: str, file_format: str) -> None:
    image = gradient(64, 48).convert(mode)
    assert difference(decode_image(encoded(image, file_format)).pixels, image) < 2


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(file_format: str) -> None:
    data = encoded(gradient(64, 48).convert("CMYK"), file_format)
    assert difference(decode_image(data).pixels, Image.open(BytesIO(data))) < 3


def test_sixteen_bits_become_eight() -> None:
    grey = np.asarray(gradient(64, 48).convert("L"))
    data = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    assert difference(decode_image(data).pixels, Image.fromarray(grey)) == 0


def transparent(mode: str) -> Image.Image:
    image = gradient(64, 48)
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    return image.convert(mode)


def on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded(transparent("RGBA"), "PNG"),
        lambda: encoded(transparent("LA"), "PNG"),
        lambda: encoded(transparent("RGBA"), "WEBP", lossless=True, exact=True),
        lambda: encoded(gradient(64, 48).quantize(16), "PNG", transparency=0),
        lambda: encoded(gradient(64, 48).quantize(16), "GIF", transparency=0),
    ],
    ids=["rgba", "grey-alpha", "webp", "palette", "gif"],
)
def test_transparency_lies_on_white(make: Callable[[], bytes]) -> None:
    data = make()
    assert probe_image(data).has_alpha
    assert difference(decode_image(data).pixels, on_white(Image.open(BytesIO(data)))) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_rotation_is_applied(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(64, 48).convert(mode), "PNG", exif=exif)

    decoded = decode_image(data)

    upright = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    assert (decoded.source_width, decoded.source_height) == upright.size
    assert difference(decoded.pixels, upright) == 0


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    data = animation(file_format)
    assert Image.open(BytesIO(data)).n_frames == 2  # type: ignore[attr-defined] # of animations
    assert difference(decode_image(data).pixels, gradient(64, 48)) < 12


@pytest.mark.parametrize(
    ("min_side", "scale"), [(None, 1), (800, 1), (601, 1), (600, 2), (300, 4), (224, 4), (150, 8)]
)
def test_large_jpegs_decode_at_reduced_scale(min_side: int | None, scale: int) -> None:
    image = gradient(1603, 1201)
    data = encoded(image, "JPEG", quality=95)
    assert reduction(probe_image(data), min_side) == scale

    decoded = decode_image(data, min_side=min_side)

    assert (decoded.width, decoded.height) == (-(-1603 // scale), -(-1201 // scale))
    assert (decoded.source_width, decoded.source_height) == (1603, 1201)
    assert difference(decoded.pixels, image.resize((decoded.width, decoded.height))) < 2


def test_rotated_jpegs_decode_at_reduced_scale() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(encoded(gradient(1603, 1201), "JPEG", exif=exif), min_side=300)
    assert (decoded.width, decoded.height) == (301, 401)
    assert (decoded.source_width, decoded.source_height) == (1201, 1603)


def test_other_formats_keep_their_scale() -> None:
    assert decode_image(encoded(gradient(800, 600), "PNG"), min_side=100).width == 800


def test_nothing_is_an_error() -> None:
    with pytest.raises(InvalidContentError, match="empty"):
        decode_image(b"")


@pytest.mark.parametrize("data", [b"\0" * 100, b"hello, this is text", b"%PDF-1.7 ..."])
def test_what_is_no_image_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaError):
        decode_image(data)


def test_float_samples_are_unsupported() -> None:
    samples = Image.fromarray(np.ones((8, 8), np.float32))
    with pytest.raises(UnsupportedMediaError, match="32-bit"):
        decode_image(encoded(samples, "TIFF"))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_invalid(file_format: str, kept: float) -> None:
    data = encoded(gradient(160, 120), file_format)
    with pytest.raises(InvalidContentError):
        decode_image(data[: max(12, int(len(data) * kept))])


def test_a_damaged_checksum_is_invalid() -> None:
    data = bytearray(encoded(gradient(160, 120), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InvalidContentError):
        decode_image(bytes(data))


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = bytearray(encoded(gradient(64, 48), "PNG"))
    bomb[16:24] = (60_000).to_bytes(4) * 2
    bomb[29:33] = _crc(bytes(bomb[12:29]))
    with pytest.raises(LimitExceededError, match="60000x60000"):
        decode_image(bytes(bomb))


def _crc(chunk: bytes) -> bytes:
    return zlib.crc32(chunk).to_bytes(4)


def test_the_probe_decodes_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("the probe decoded pixels")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    for file_format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        assert probe_image(encoded(gradient(64, 48), file_format)).width == 64


def test_bytes_and_pixels_are_limited() -> None:
    data = encoded(gradient(64, 48), "PNG")
    with pytest.raises(LimitExceededError, match="bytes"):
        decode_image(data, ImageLimits(max_bytes=len(data) - 1))
    with pytest.raises(LimitExceededError, match="64x48"):
        decode_image(data, ImageLimits(max_pixels=64 * 48 - 1))
    decode_image(data, ImageLimits(max_bytes=len(data), max_pixels=64 * 48))


def test_damaged_exif_leaves_the_picture_readable() -> None:
    data = encoded(gradient(64, 48), "JPEG", exif=b"Exif\0\0" + b"\xff" * 40)
    assert decode_image(data).width == 64
