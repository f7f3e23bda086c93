"""Draws queries and what they found, one row a query."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL = 150
_PICTURE = 128
_CAPTION = 34
_COLUMNS = 6
"""The query and five hits."""
_GREEN, _GREY, _BLACK = (0, 130, 60), (90, 90, 90), (0, 0, 0)


@dataclass(frozen=True)
class Picture:
    """One picture with its caption."""

    data: bytes
    """An image file."""
    caption: str
    original: bool = False
    """It is what the query was made from; drawn with a green frame."""


def draw(title: str, rows: Sequence[Sequence[Picture]]) -> bytes:
    """A PNG file: a title, then the rows; the first picture of a row is its query."""
    sheet = Image.new(
        "RGB", (_COLUMNS * _CELL, 2 * _CAPTION + len(rows) * (_CELL + _CAPTION)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((11, 8), title, fill=_BLACK, font=ImageFont.load_default(16))
    pen.text((11, _CAPTION), "query", fill=_GREY, font=ImageFont.load_default(12))
    pen.text(
        (11 + _CELL, _CAPTION), "hits, best first", fill=_GREY, font=ImageFont.load_default(12)
    )
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures[:_COLUMNS]):
            _place(sheet, picture, column * _CELL, 2 * _CAPTION + row * (_CELL + _CAPTION))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _place(sheet: Image.Image, picture: Picture, left: int, top: int) -> None:
    with Image.open(io.BytesIO(picture.data)) as opened:
        shown = ImageOps.exif_transpose(opened).convert("RGBA")
    shown.thumbnail((_PICTURE, _PICTURE))
    margin = (_CELL - _PICTURE) // 2
    x = left + (_CELL - shown.width) // 2
    y = top + (_CELL - shown.height) // 2
    sheet.paste(shown, (x, y), shown)
    pen = ImageDraw.Draw(sheet)
    if picture.original:
        corner = (left + 4, top + 4)
        pen.rectangle((*corner, left + _CELL - 5, top + _CELL - 5), outline=_GREEN, width=3)
    font = ImageFont.load_default(11)
    colour = _GREEN if picture.original else _GREY
    for line, text in enumerate(picture.caption.splitlines()[:2]):
        pen.text((left + margin, top + _CELL + 14 * line), text[:24], fill=colour, font=font)
