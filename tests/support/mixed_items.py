"""Things of many kinds to ingest, one in twenty of them bad, with a record of which is which."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.ingest.v1 import job_pb2
from tests.support.media import moving, picture, silence, sound, tone, video, wav
from tests.support.pictures import png
from tests.support.tars import make_tar
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
    """Fill a folder; return the jobs over it, over tables and given items. The same each time."""
    return [_files(root / "files"), _given(), _rows(root / "rows.csv"), _columns(root)]


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
    for name, data in {
        "more.zip": make_zip(members),
        "more.tar.gz": gzip.compress(make_tar(members), mtime=0),
    }.items():
        (root / name).write_bytes(data)
        mix.good |= {f"{name}!/{member}" for member in members if member != "bad.png"}
        mix.bad.add(f"{name}!/bad.png")
    _add_records(root, mix, chance)
    return mix


def _add_records(root: Path, mix: Mix, chance: random.Random) -> None:
    """Add files of many items: molecules, and sequences in a compressed one."""
    smiles = {f"amine-{number}": f"{'C' * number}N" for number in range(1, 31)}
    smiles["open-ring"] = "C1CC"
    sequences = {f"gene-{number}": "".join(chance.choices("ACGT", k=300)) for number in range(30)}
    sequences["protein"] = "MKVLE" * 20
    smi = "".join(f"{text} {name}\n" for name, text in smiles.items())
    fasta = "".join(f">{name} a gene\n{text}\n" for name, text in sequences.items())
    (root / "amines.smi").write_text(smi)
    (root / "genes.fasta.gz").write_bytes(gzip.compress(fasta.encode(), mtime=0))
    mix.good |= {f"amines.smi!/{name}" for name in smiles}
    mix.good |= {f"genes.fasta.gz!/{name}" for name in sequences}
    mix.bad |= {"amines.smi!/open-ring", "genes.fasta.gz!/protein"}
    mix.good -= mix.bad


def _rows(file: Path) -> Mix:
    """Texts in a table of rows; of some, there is none."""
    mix = Mix("rows")
    chance = random.Random(3)
    lines = ["sku,body,stars"]
    for number in range(60):
        is_bad = number % 20 == 7
        (mix.bad if is_bad else mix.good).add(f"row-{number}")
        body = "" if is_bad else f"{_sentence(chance)} {number}"
        lines.append(f"row-{number},{body},{number % 5}")
    file.write_text("\n".join(lines))
    mix.job.table.uri = file.as_uri()
    mix.job.table.columns.update({"item": "sku", "text": "body"})
    return mix


def _columns(root: Path) -> Mix:
    """Vectors that are known already, in a table of columns."""
    mix = Mix("columns")
    chance = random.Random(4)
    names = [f"known-{number}" for number in range(60)]
    vectors = [[chance.uniform(-1, 1) for _ in range(384)] for _ in names]
    for number in (11, 31, 51):
        vectors[number] = vectors[number][:-1]  # one is missing
    mix.bad = {names[number] for number in (11, 31, 51)}
    mix.good = set(names) - mix.bad
    table = pa.table({"name": names, "vector": vectors})
    pq.write_table(table, root / "known.parquet", row_group_size=25)
    mix.job.table.uri = (root / "known.parquet").as_uri()
    mix.job.table.columns.update({"item": "name", "vectors.text": "vector"})
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
    files["texts/page.html"] = (f"<h1>Page</h1><p>{_sentence(chance)}".encode(), True)
    files["texts/long.md"] = ("\n\n".join(_sentence(chance) for _ in range(120)).encode(), True)
    files["texts/latin.txt"] = ("Größe".encode("latin-1"), False)
    files["texts/empty.txt"] = (b"", False)
    return files


def _sounds(chance: random.Random) -> Files:
    files: Files = {
        f"sounds/{number:02}.wav": (wav(tone(2 + number % 3, chance.uniform(200, 2000))), True)
        for number in range(12)
    }
    for number in range(4):
        data = sound(tone(3, chance.uniform(200, 2000)), "ipod", "aac")
        files[f"sounds/{number}.m4a"] = (data, True)
    files["sounds/silent.wav"] = (wav(silence(2)), False)
    return files


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=8))


def _videos(chance: random.Random) -> Files:
    """Clips of two shots, with sound or without."""
    files: Files = {}
    for number in range(4):
        frames = moving(picture(chance.randrange(1000)), 15) + moving(picture(number), 15)
        heard = tone(2, 300 + 100 * number) if number % 2 else None
        files[f"videos/{number}.mp4"] = (video(frames, soundtrack=heard), True)
    files["videos/cut.mp4"] = (files["videos/0.mp4"][0][:300], False)
    return files


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


_MAKERS: tuple[Callable[[random.Random], Files], ...] = (
    _pictures,
    _texts,
    _sounds,
    _videos,
)
