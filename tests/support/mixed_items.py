"""Things of many kinds to ingest, one in twenty of them bad, with a record of which is which."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lookalike.ingest.v1 import job_pb2
from tests.support.pictures import png
from tests.support.zips import make_zip

_WORDS = [
    "river",
    "stone",
    "copper",
    "window",
    "garden",
    "quiet",
    "morning",
    "engine",
    "paper",
    "blue",
    "island",
    "story",
]


@dataclass(frozen=True)
class Kind:
    """What one job ingests, and what must become of it."""

    name: str
    encoder: str
    job: job_pb2.Job
    """Where it comes from."""
    good: frozenset[str]
    """Keys of the items that must be there once."""
    bad: frozenset[str]
    """Keys of the items that must be listed as failures once."""
    skipped: int = 0
    """Items of other kinds."""


def write_items(root: Path) -> list[Kind]:
    """Fill a folder; return the jobs over it. The same each time."""
    chance = random.Random(1)
    return [make(root, chance) for make in KINDS]


def _images(root: Path, chance: random.Random) -> Kind:
    """Photos in a folder and in an archive."""
    folder = root / "images"
    folder.mkdir()
    good, bad = set(), set()
    for number in range(76):
        (folder / f"{number:03}.png").write_bytes(png(chance.randrange(1 << 24)))
        good.add(f"{number:03}.png")
    for name, data in {
        "words.png": b"no picture at all",
        "cut.png": png(77)[:60],
        "torn.jpg": b"\xff\xd8\xff\xe0" + chance.randbytes(500),
    }.items():
        (folder / name).write_bytes(data)
        bad.add(name)
    members = {f"{number:02}.png": png(5000 + number) for number in range(20)}
    members["bad.png"] = png(5000)[:50]
    (folder / "more.zip").write_bytes(make_zip(members))
    good |= {f"more.zip!/{name}" for name in members if name != "bad.png"}
    bad.add("more.zip!/bad.png")
    return Kind("images", "efficientnet-lite0", _over(folder), frozenset(good), frozenset(bad))


def _texts(_root: Path, chance: random.Random) -> Kind:
    """Texts that come in the request."""
    job = job_pb2.Job()
    for number in range(60):
        text = " ".join(chance.choices(_WORDS, k=8))
        job.items.items.add(item=f"text-{number}").content.text = f"{text} {number}"
    keys = frozenset(each.item for each in job.items.items)
    return Kind("texts", "minilm-l6-v2", job, keys, frozenset())


def _over(folder: Path) -> job_pb2.Job:
    return job_pb2.Job(files=job_pb2.FilesSource(uris=[f"{folder.as_uri()}/"]))


KINDS: tuple[Callable[[Path, random.Random], Kind], ...] = (_images, _texts)
