"""How fast each kind of thing is ingested by the real suite on Milvus Lite; photos by the limit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from lookalike.ingest.v1 import job_pb2
from lookalike_client import Client, LookalikeError
from tests.bench.contents import images, long_texts
from tests.bench.ingest_suite import ENCODER_CORE, Done, ingest, over, suite, tell
from tests.bench.peers import milvus_lite
from tests.bench.worker import worker
from tests.support import real_data

Figures = dict[str, Any]
_TURNS: Final = 2
_TARGET: Final = 0.85


@dataclass(frozen=True)
class Kind:
    """Files of one kind, and how much is in them."""

    name: str
    encoder: str
    unit: str
    amount: float
    job: job_pb2.Job


def write_pictures(folder: Path, count: int, *, seed: int = 0) -> None:
    """Write photos as JPEG files, each another cut of a few, all of about 640 x 480."""
    folder.mkdir(parents=True)
    pictures = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in images()]
    chance = np.random.default_rng(seed)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        if picture is None:
            raise ValueError("not a picture")
        top, left = (int(chance.integers(0, 64)) for _ in range(2))
        cut = picture[top:, left:]
        cv2.imwrite(str(folder / f"{number:05}.jpg"), cut, [cv2.IMWRITE_JPEG_QUALITY, 90])


def measure(count: int) -> Figures:
    """Ingest photos and the rest; return rates, and photos' rate by the limit's."""
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder:
        root = Path(folder) / "root"
        write_pictures(root / "photos", count)
        kinds = [make(root, count) for make in _KINDS]
        with (
            worker("ingest_limit", core=ENCODER_CORE) as limit,
            milvus_lite(core=1) as uri,
            suite(uri, root, Path(folder) / "data") as addresses,
            addresses.client() as client,
        ):
            figures = _photos(client, root / "photos", count, limit.ask)
            for kind in kinds:
                figures[kind.name] = _rate(client, kind)
                tell(f"{kind.name}: {figures[kind.name]}")
    return figures


def _photos(client: Client, folder: Path, count: int, ask_limit: Callable[..., float]) -> Figures:
    """Compare turn by turn, so that whatever else the machine does falls on both."""
    limits, rates = [], []
    client.create_collection("warm")
    ingest(client, over("warm", folder))
    for turn in range(_TURNS):
        limits.append(ask_limit(folder=str(folder), files=count))
        client.create_collection(f"photos-{turn}")
        rates.append(count / ingest(client, over(f"photos-{turn}", folder)).seconds)
        tell(f"photos: limit {limits[-1]:.0f}/s, ingested {rates[-1]:.0f}/s")
    again = ingest(client, over("photos-0", folder))
    return {
        "images_per_s": round(max(rates), 1),
        "images_limit_per_s": round(max(limits), 1),
        "images_ratio": round(sum(rates) / sum(limits), 3),
        "target_images_ratio": _TARGET,
        "unchanged_images_per_s": round(count / again.seconds),
    }


def _rate(client: Client, kind: Kind) -> Figures | None:
    """Return the rate of a kind; None where this release does not take it."""
    client.create_collection(f"kind-{kind.name.replace('_', '-')}", encoder=kind.encoder)
    job = job_pb2.Job(collection=f"collections/kind-{kind.name.replace('_', '-')}")
    job.MergeFrom(kind.job)
    try:
        done = ingest(client, job)
    except LookalikeError as error:
        tell(f"{kind.name}: {error}")
        return None
    return _figures(kind, done) if done.job.counts.created else None


def _figures(kind: Kind, done: Done) -> Figures:
    return {
        "per_s": round(kind.amount / done.seconds, 2),
        "unit": kind.unit,
        "items": done.job.counts.created,
        "failed": done.job.counts.failed,
        "skipped": done.job.counts.skipped,
        "entities": done.job.entities.written,
        "seconds": round(done.seconds, 1),
    }


def _sounds(root: Path, count: int) -> Kind:
    import soundfile

    folder, seconds = root / "sounds", 0.0
    folder.mkdir()
    for path in real_data.sounds()[: max(4, count // 10)]:
        (folder / path.name).write_bytes(path.read_bytes())
        seconds += soundfile.info(path).duration
    return Kind("audio", "speech-embedding", "x realtime", seconds, _files(folder))


def _videos(root: Path, count: int) -> Kind:
    """Clips of 640 x 480 at 25 frames a second: pictures that move, and a cut every two seconds."""
    import av

    folder, seconds = root / "videos", 20
    folder.mkdir()
    clips = max(1, count // 200)
    pictures = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in images()]
    for number in range(clips):
        with av.open(str(folder / f"{number}.mp4"), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for frame in range(25 * seconds):
                picture = pictures[(frame // 50 + number) % len(pictures)]
                moved = np.roll(np.asarray(picture), frame % 50, axis=1)
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="bgr24")
                container.mux(stream.encode(shown))
            container.mux(stream.encode(None))
    return Kind("video", "efficientnet-lite0", "x realtime", clips * seconds, _files(folder))


def _texts(root: Path, count: int) -> Kind:
    folder = root / "texts"
    folder.mkdir()
    total = 0
    texts = long_texts(200)
    for number in range(max(5, count // 10)):
        text = f"{number} " + "\n\n".join(texts[(number + i) % len(texts)] for i in range(5))
        (folder / f"{number}.txt").write_text(text)
        total += len(text)
    return Kind("text", "minilm-l6-v2", "MB", total / 1e6, _files(folder))


def _molecules(root: Path, count: int) -> Kind:
    drugs = real_data.drugs()
    folder = root / "molecules"
    folder.mkdir()
    lines = [f"{drugs[n % len(drugs)]} molecule-{n}" for n in range(count * 5)]
    (folder / "drugs.smi").write_text("\n".join(lines) + "\n")
    return Kind("molecules", "morgan-2048", "molecules", len(lines), _files(folder))


def _bases(root: Path, count: int) -> Kind:
    folder = root / "genes"
    folder.mkdir()
    genes = list(real_data.genes("ScerR64_I").items())
    records = [(f"{gene}-{n}", bases) for n in range(count // 100) for gene, bases in genes]
    fasta = "".join(f">{name}\n{bases}\n" for name, bases in records)
    (folder / "genes.fasta").write_text(fasta)
    total = sum(len(bases) for _, bases in records)
    return Kind("dna", "dna-kmer6", "bases", total, _files(folder))


def _files(folder: Path) -> job_pb2.Job:
    return job_pb2.Job(files=job_pb2.FilesSource(uris=[f"{folder.as_uri()}/"]))


_KINDS: Final = (_sounds, _videos, _texts, _molecules, _bases)
