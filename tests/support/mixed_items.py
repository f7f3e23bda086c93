"""Things of many kinds to ingest, one in twenty of them bad, with a record of which is which."""

from __future__ import annotations

import io
import math
import random
import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lookalike.ingest.v1 import job_pb2
from tests.support.pictures import png
from tests.support.zips import make_zip

ENCODERS: Final = {
    "image": "efficientnet-lite0",
    "text": "minilm-l6-v2",
    "audio": "speech-embedding",
    "molecule": "morgan-2048",
    "sequence": "dna-kmer6",
}
"""By vector field: what a collection for all of it needs."""
_WORDS = ("river", "stone", "copper", "window", "garden", "quiet", "morning", "engine", "paper")
_RATE = 16_000


@dataclass
class Mix:
    """What one job ingests, and what must become of it."""

    name: str
    job: job_pb2.Job = field(default_factory=job_pb2.Job)
    """Where it comes from."""
    good: set[str] = field(default_factory=set)
    """Keys of the items that must be there once."""
    bad: set[str] = field(default_factory=set)
    """Keys of the items that must be listed as failures once."""

    @property
    def total(self) -> int:
        return len(self.good) + len(self.bad)


def write_mixes(root: Path) -> list[Mix]:
    """Fill a folder; return the jobs over it and over given items. The same each time."""
    return [_files(root), _given()]


def _files(root: Path) -> Mix:
    """Everything below a folder."""
    mix = Mix("files")
    mix.job.files.uris.append(f"{root.as_uri()}/")
    chance = random.Random(1)
    for make in _MAKERS:
        for path, (data, is_good) in make(chance).items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            (mix.good if is_good else mix.bad).add(path)
    members = {f"{number:02}.png": png(5000 + number) for number in range(20)}
    members["bad.png"] = png(5000)[:50]
    (root / "more.zip").write_bytes(make_zip(members))
    mix.good |= {f"more.zip!/{name}" for name in members if name != "bad.png"}
    mix.bad.add("more.zip!/bad.png")
    return mix


Files = dict[str, tuple[bytes, bool]]
"""By path: the bytes, and whether they are good."""


def _pictures(chance: random.Random) -> Files:
    files: Files = {
        f"pictures/{number:03}.png": (png(chance.randrange(1 << 24)), True) for number in range(60)
    }
    files["pictures/words.png"] = (b"no picture at all", False)
    files["pictures/cut.png"] = (png(77)[:60], False)
    files["pictures/torn.jpg"] = (b"\xff\xd8\xff\xe0" + chance.randbytes(500), False)
    return files


def _texts(chance: random.Random) -> Files:
    files: Files = {
        f"texts/{number:03}.txt": (f"{_sentence(chance)} {number}".encode(), True)
        for number in range(38)
    }
    files["texts/latin.txt"] = ("Größe".encode("latin-1"), False)
    files["texts/empty.txt"] = (b"", False)
    return files


def _sounds(chance: random.Random) -> Files:
    files: Files = {
        f"sounds/{number:02}.wav": (_tone(chance.uniform(200, 2000), 2 + number % 3), True)
        for number in range(16)
    }
    files["sounds/silent.wav"] = (_tone(0, 2), False)
    return files


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=8))


def _tone(pitch: float, seconds: int) -> bytes:
    """Return a WAV file of one channel."""
    samples = (math.sin(2 * math.pi * pitch * at / _RATE) for at in range(_RATE * seconds))
    data = b"".join(struct.pack("<h", int(20_000 * each)) for each in samples)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(_RATE)
        writer.writeframes(data)
    return file.getvalue()


def _given() -> Mix:
    """Texts, molecules and sequences that come in the request."""
    mix = Mix("given")
    chance = random.Random(2)
    items = mix.job.items.items
    for number in range(24):
        items.add(item=f"text-{number}").content.text = f"{_sentence(chance)} {number}"
        items.add(item=f"molecule-{number}").content.smiles = f"C{'C' * number}O"
        sequence = "".join(chance.choices("ACGT", k=200))
        items.add(item=f"sequence-{number}").content.sequence = sequence
    mix.good = {each.item for each in items}
    for number, smiles in enumerate(("C1CC", "no molecule", "C(")):
        items.add(item=f"broken-{number}").content.smiles = smiles
        mix.bad.add(f"broken-{number}")
    return mix


_MAKERS: tuple[Callable[[random.Random], Files], ...] = (_pictures, _texts, _sounds)
