"""The guide to ingesting, run block by block on a real suite."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from tests.support.guide import Guide
from tests.support.suite import Ended, Suite

GUIDE = Guide(Path(__file__).parents[2] / "docs" / "ingest.md")


@pytest.fixture(scope="module")
def ended(running_suite: Suite) -> list[Ended]:
    """How each block ended, in their order, in a folder that the service may read."""
    home = running_suite.root / "guide"
    photos = running_suite.photos.paths()
    (home / "photos" / "cats").mkdir(parents=True)
    (home / "photos" / "cats" / "tom.png").write_bytes(photos[0].read_bytes())
    (home / "photos" / "cats" / "draft.png").write_bytes(photos[1].read_bytes())
    with zipfile.ZipFile(home / "photos" / "more.zip", "w") as packed:
        packed.write(photos[2], "dog.png")
    return [GUIDE.run(each, running_suite, home) for each in GUIDE.blocks]


def test_every_block_does_what_it_says(ended: list[Ended]) -> None:
    for (_, block), each in zip(GUIDE.blocks, ended, strict=True):
        assert each.code == 0, block + each.output + each.complaints


def test_a_folder_is_ingested_once(ended: list[Ended]) -> None:
    first, narrowed, given = (each.output for each in ended)
    assert re.findall(r"succeeded in .*: (.*)", first) == ["3 created", "3 unchanged"]
    assert re.findall(r"succeeded in .*: (.*)", narrowed) == ["2 created, 1 skipped", "1 unchanged"]
    assert given.splitlines()[-1] == "2 of 2"
