"""Tiles cover a picture, and never reach beyond it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lookalike_ingest.image_tiles import count_tiles, tile_boxes
from lookalike_ingest.segments import Box


def test_the_last_tiles_end_with_the_picture() -> None:
    assert list(tile_boxes(250, 100, 100)) == [
        Box(0, 0, 100, 100),
        Box(100, 0, 100, 100),
        Box(150, 0, 100, 100),
    ]
    assert list(tile_boxes(30, 40, 100)) == [Box(0, 0, 30, 40)]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
def test_every_pixel_is_in_a_tile(width: int, height: int, edge: int) -> None:
    tiles = list(tile_boxes(width, height, edge))
    covered = {
        (x, y)
        for each in tiles
        for x in range(each.x, each.x + each.width)
        for y in range(each.y, each.y + each.height)
    }
    assert covered == {(x, y) for x in range(width) for y in range(height)}
    assert {(each.width, each.height) for each in tiles} == {(min(edge, width), min(edge, height))}
    assert len(set(tiles)) == len(tiles) == count_tiles(width, height, edge)
