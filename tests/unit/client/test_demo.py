"""The demonstration's parts that need no suite."""

import io
from pathlib import Path

import pytest
from PIL import Image

from lookalike_client.demo import contact_sheet, edits, photos, report
from lookalike_client.demo.trial import Found, Query, Result
from lookalike_client.suite.ports import Ports


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.fixture
def half_red() -> Image.Image:
    """Red on the left, transparent on the right; 40 by 20."""
    picture = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 20, 20))
    return picture


def test_transparent_pixels_are_white(half_red: Image.Image) -> None:
    seen = edits.upright(png(half_red))
    assert seen.getpixel((0, 0)) == (255, 0, 0)
    assert seen.getpixel((39, 0)) == (255, 255, 255)


def test_a_flip_exchanges_left_and_right(half_red: Image.Image) -> None:
    flipped = opened(edits.flip(edits.upright(png(half_red))))
    assert flipped.getpixel((0, 0)) == (255, 255, 255)
    assert flipped.getpixel((39, 0)) == (255, 0, 0)


def test_a_crop_keeps_the_middle(half_red: Image.Image) -> None:
    assert opened(edits.crop(edits.upright(png(half_red)))).size == (30, 16)


def test_grey_has_no_colours(half_red: Image.Image) -> None:
    pixel = opened(edits.grey(edits.upright(png(half_red)))).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert len(set(pixel)) == 1


def test_jpeg_20_is_a_jpeg(half_red: Image.Image) -> None:
    assert edits.jpeg_20(edits.upright(png(half_red))).startswith(b"\xff\xd8")


def test_what_must_be_found_is_an_edit() -> None:
    assert set(edits.MUST_BE_FOUND) <= set(edits.EDITS)


def test_without_apt_the_sample_photos_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    said: list[str] = []
    found = photos.fetch(tmp_path, said.append)
    assert len(found.paths()) >= 20
    assert "scikit-image" in found.origin
    assert "scikit-image instead" in said[0]
    assert found.key(found.paths()[0]) == "astronaut.png"


def test_photos_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "stamps" / "cats").mkdir(parents=True)
    (tmp_path / "stamps" / "cats" / "tom.png").write_bytes(b"tom")
    (tmp_path / "stamps" / "cats" / "tom.txt").write_bytes(b"text")
    found = photos.fetch(tmp_path, pytest.fail)
    assert [found.key(path) for path in found.paths()] == ["cats/tom.png"]


@pytest.fixture
def results(tmp_path: Path, half_red: Image.Image) -> list[Result]:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(half_red))
    hits = [Found("a.png", 0.9), Found("b.png", 0.5)]
    queries = [
        Query("a.png", png(half_red), hits, original_first=True),
        Query("b.png", png(half_red), hits, original_first=False),
    ]
    return [Result("flip", queries)]


def test_a_result_is_summed_up(results: list[Result]) -> None:
    assert results[0].share_first == pytest.approx(0.5)
    assert results[0].median_score == pytest.approx(0.9)


def test_the_contact_sheet_has_a_row_for_each_query(results: list[Result], tmp_path: Path) -> None:
    one = opened(report.draw_sheet(results, photos.PhotoSet(tmp_path, "tests"), each=1))
    two = opened(report.draw_sheet(results, photos.PhotoSet(tmp_path, "tests"), each=2))
    assert one.width == two.width
    assert two.height > one.height


def test_an_empty_row_is_no_problem() -> None:
    assert opened(contact_sheet.draw("nothing", [])).height > 0


def test_the_commands_to_try_are_complete(tmp_path: Path) -> None:
    steps = report.next_steps(Ports(), "demo-photos", tmp_path / "it's.png")
    assert "lookalike.search.v1.SearchService/Search" in "\n".join(steps)
    assert all("{" not in step or '"collections/demo-photos"' in step for step in steps)
