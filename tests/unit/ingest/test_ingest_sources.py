"""Roots, folders, places and what is listed of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import (
    InvalidArgumentError,
    LocationNotAllowedError,
    NotFoundError,
    SourceChangedError,
)
from lookalike_ingest.places import (
    AssetPlace,
    FilePlace,
    MemberPlace,
    ObjectPlace,
    Place,
    SlicePlace,
    SpoolPlace,
    WebPlace,
    place_from_text,
    place_to_text,
)
from lookalike_ingest.sources.folder import walk_folder
from lookalike_ingest.sources.roots import Roots, text_of, uri_of

PATHS = st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
SIMPLE: st.SearchStrategy[FilePlace | AssetPlace] = st.builds(FilePlace, PATHS) | st.builds(
    AssetPlace, st.text(max_size=10)
)
NUMBERS = st.integers(0, 2**40)
REMOTE: st.SearchStrategy[ObjectPlace | WebPlace] = st.builds(
    ObjectPlace, st.text(max_size=10), st.text(max_size=10), st.text(max_size=10), NUMBERS
) | st.builds(WebPlace, st.text(max_size=10), st.text(max_size=10), NUMBERS)
MEMBERS = st.builds(
    MemberPlace,
    SIMPLE | REMOTE,
    NUMBERS,
    st.text(max_size=40),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
)
PLACES: st.SearchStrategy[Place] = (
    SIMPLE
    | REMOTE
    | st.builds(SpoolPlace, NUMBERS, NUMBERS, st.sampled_from(["image", "text"]))
    | MEMBERS
    | st.builds(
        SlicePlace,
        SIMPLE | REMOTE | MEMBERS,
        st.sampled_from(["", "gzip", "zstd"]),
        NUMBERS,
        NUMBERS,
        st.text(max_size=40),
        st.text(max_size=10),
        NUMBERS,
        st.text(max_size=10),
    )
)


@given(PLACES)
def test_places_survive_being_kept(place: Place) -> None:
    assert place_from_text(place_to_text(place)) == place


@given(PATHS)
def test_uris_lead_back_to_their_paths(path: str) -> None:
    uri = uri_of("/" + path)
    assert uri.isascii()
    with pytest.raises(LocationNotAllowedError):
        Roots([]).resolve_uri(uri)


@given(PATHS)
def test_paths_become_text_that_is_utf_8(path: str) -> None:
    text_of(path).encode()


def test_only_what_lies_under_a_root(tmp_path: Path) -> None:
    root, twin = tmp_path / "root", tmp_path / "root-twin"
    for folder in (root, twin):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"x")
    (tmp_path / "alias").symlink_to(root)
    roots = Roots([tmp_path / "alias"])
    assert roots.resolve_uri((root / "a.png").as_uri()) == str(root / "a.png")
    assert roots.resolve_uri((tmp_path / "alias" / "a.png").as_uri()) == str(root / "a.png")
    assert roots.resolve_uri(f"{root.as_uri()}/") == str(root)
    assert roots.resolve_uri(root.as_uri().replace("file://", "file://localhost")) == str(root)
    for outside in (twin / "a.png", root / ".." / "root-twin" / "a.png", tmp_path):
        with pytest.raises(LocationNotAllowedError):
            roots.resolve(str(outside))
    with pytest.raises(NotFoundError):
        roots.resolve(str(root / "none"))
    for uri in ("file://host/x", "file:x", "file:///x?y", "file:///x#y", "file:///%00"):
        with pytest.raises(InvalidArgumentError):
            roots.resolve_uri(uri)


def test_opening_looks_again(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_bytes(b"secret")
    roots = Roots([root])
    file = root / "a.png"
    file.write_bytes(b"data")
    with roots.open(str(file)) as opened:
        assert opened.read() == b"data"
    file.unlink()
    with pytest.raises(SourceChangedError):
        roots.open(str(file))
    file.symlink_to(outside)
    with pytest.raises(SourceChangedError):
        roots.open(str(file))
    with pytest.raises(LocationNotAllowedError):
        roots.open(str(outside))
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SourceChangedError, match="no regular file"):
        roots.open(str(file))


def test_walking_follows_no_links_and_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"123")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {each.relative: (each.kind, each.size) for each in walk_folder(str(tmp_path))}
    assert found == {
        "a/b/file": ("file", 3),
        "a/round": ("link", 0),
        "gone": ("link", 0),
        "pipe": ("other", 0),
    }


def test_a_folder_that_is_gone_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (entry,) = walk_folder(str(tmp_path / "none"))
    assert (entry.kind, entry.relative) == ("unreadable", "")
