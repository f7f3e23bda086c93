"""Where the tiles of a picture lie."""

from collections.abc import Iterator

from lookalike_ingest.segments import Box


def tile_boxes(width: int, height: int, edge: int) -> Iterator[Box]:
    """Yield squares that cover a picture, row by row.

    They touch each other, except that the last of a row and of a column are moved back to end with
    the picture: all are of one size, and smaller only where the picture is.
    """
    for top in _starts(height, edge):
        for left in _starts(width, edge):
            yield Box(left, top, min(edge, width), min(edge, height))


def count_tiles(width: int, height: int, edge: int) -> int:
    """Return how many tiles cover a picture."""
    return -(-width // edge) * -(-height // edge)


def _starts(length: int, edge: int) -> Iterator[int]:
    for start in range(0, length, edge):
        yield max(0, min(start, length - edge))
