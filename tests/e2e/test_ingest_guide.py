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


def told(ended: list[Ended], phrase: str) -> str:
    """What the one block with a phrase in it said."""
    (output,) = [
        each.output for (_, block), each in zip(GUIDE.blocks, ended, strict=True) if phrase in block
    ]
    return output


def ends(ended: list[Ended], phrase: str) -> list[str]:
    """How the jobs of a block ended."""
    said = told(ended, phrase)
    return re.findall(r"^jobs/\w+ succeeded .*s: (.*)", said, re.MULTILINE)


def test_files(ended: list[Ended]) -> None:
    assert ends(ended, "again: everything") == ["3 created", "3 unchanged"]
    assert ends(ended, "--include") == ["2 created, 1 skipped", "1 unchanged"]
    assert ends(ended, "album.tar.gz") == ["2 unchanged"]
    assert told(ended, "ItemsSource").splitlines()[-1] == "2 of 2"


def test_tables_and_records(ended: list[Ended]) -> None:
    assert ends(ended, "genes.fa -c") == ["2 created", "2 created"]
    goods, _ = ends(ended, "goods.csv -c")
    assert goods == "2 created"
    assert ends(ended, "--from-collection") == ["2 created"]


def test_texts(ended: list[Ended]) -> None:
    (counts,) = ends(ended, "a sleeping pet")
    assert counts == "2 created"
    assert re.search(r" 1 │.*home/cats.md.*A cat sleeps", told(ended, "a sleeping pet"))


def test_what_failed_is_told_and_retried(ended: list[Ended], running_suite: Suite) -> None:
    assert ends(ended, "jobs retry") == ["3 unchanged, 1 failed", "1 created"]
    assert re.search(r"failed,broken.png,file://", told(ended, "jobs retry"))
    listed = re.findall(r"│ succeeded.*", told(ended, "jobs retry"))
    assert ["with failures" in each for each in listed] == [False, True]
    page = (running_suite.root / "guide" / "report.html").read_text(encoding="utf-8")
    assert "broken.png" in page


def test_a_dry_run_writes_nothing_and_sync_removes_what_is_gone(ended: list[Ended]) -> None:
    dry, synced = re.findall(r"^jobs/.*", told(ended, "--dry-run"), re.MULTILINE)
    assert ", a dry run, succeeded" in dry
    assert synced.endswith("; removed 1")
