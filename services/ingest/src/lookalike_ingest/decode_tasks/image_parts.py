"""A picture, decoded once and cut into tiles or given boxes.

Facts of each part: `x`, `y`, `width`, `height`, in pixels of the upright picture. Its bytes are
RGB8 rows without padding.
"""

from collections.abc import Iterator
from typing import BinaryIO

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.decoding import DecodeLimits, Fact, Facts
from lookalike_ingest.image_tiles import tile_boxes
from lookalike_ingest.segments import Box
from lookalike_media import Box as Region
from lookalike_media import ImageLimits, RawImage, crop_image, decode_image


def run(
    file: BinaryIO, arguments: Facts, limits: DecodeLimits
) -> Iterator[tuple[dict[str, Fact], bytes]]:
    """Yield the boxes of `boxes` (x, y, width, height each), then tiles of `tile_pixels`, if any.

    Raises what `decode_image` raises, and InvalidContentError for a box beyond the picture.
    """
    data = file.read()
    picture = decode_image(data, ImageLimits(len(data), limits.max_pixels))
    for box in _boxes(picture, arguments):
        cropped = crop_image(picture, Region(box.x, box.y, box.width, box.height))
        facts: dict[str, Fact] = {
            "x": box.x,
            "y": box.y,
            "width": cropped.width,
            "height": cropped.height,
        }
        yield facts, cropped.pixels.tobytes()


def _boxes(picture: RawImage, arguments: Facts) -> Iterator[Box]:
    boxes, edge = arguments.get("boxes"), arguments.get("tile_pixels")
    if isinstance(boxes, list):
        yield from map(_box, boxes)
    if isinstance(edge, int) and edge:
        yield from tile_boxes(picture.width, picture.height, edge)


def _box(numbers: Fact) -> Box:
    match numbers:
        case [int(x), int(y), int(width), int(height)]:
            return Box(x, y, width, height)
        case _:
            raise InvalidContentError("a box has no x, y, width and height")
