"""Globs over the paths of items."""

from __future__ import annotations

import pytest

from lookalike_ingest.sources.globs import Globs, matches


@pytest.mark.parametrize(
    ("glob", "meant", "not_meant"),
    [
        ("*.png", ["a.png", "cats/a.png", "x.zip!/deep/a.png"], ["a.jpg", "a.png/b"]),
        ("cats/*", ["cats/a.png"], ["a.png", "cats/deep/a.png", "wild/cats/a.png"]),
        ("/a.png", ["a.png"], ["cats/a.png"]),
        ("*/a.png", ["cats/a.png"], ["a.png", "cats/deep/a.png"]),
        ("**/a.png", ["a.png", "cats/a.png", "cats/deep/a.png"], ["b.png", "xa.png"]),
        ("cats/**", ["cats/a", "cats/deep/a"], ["cats", "dogs/a"]),
        ("cats/", ["cats/a", "cats/deep/a"], ["cats", "dogs/a"]),
        ("cats/**/*.png", ["cats/a.png", "cats/x/y/a.png"], ["a.png", "cats/a.jpg"]),
        ("**", ["a", "a/b/c"], []),
        ("?.png", ["a.png"], ["ab.png", ".png"]),
        ("[ab].png", ["a.png", "x/b.png"], ["c.png"]),
        ("*.zip!/*", ["x.zip!/a"], ["x.zip!/a/b", "x.zip"]),
        ("", [""], ["a"]),
    ],
)
def test_what_a_glob_means(glob: str, meant: list[str], not_meant: list[str]) -> None:
    assert [path for path in meant if not matches(glob, path)] == []
    assert [path for path in not_meant if matches(glob, path)] == []


def test_including_and_excluding() -> None:
    globs = Globs(["*.png", "other/"], ["draft*"])
    assert globs.takes("a.png")
    assert globs.takes("other/a.jpg")
    assert not globs.takes("a.jpg")
    assert not globs.takes("draft.png")
    assert globs.excludes("x/draft.png")
    assert Globs().takes("anything")


def test_a_glob_made_to_be_slow_is_not() -> None:
    """Tried naively, this takes longer than the universe has been there."""
    assert not matches("/".join(["**", "*a*a*a*a*a*b"] * 50), "/".join(["a" * 200] * 100))
