"""`lookalike encode` on real data: what was changed a little still has its original nearest.

Questions people ask, photos, recorded sounds, approved drugs and the genes of yeasts.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from rdkit import Chem

from lookalike_client.demo import edits, photos
from tests.support import real_data
from tests.support.suite import Ended

Lookalike = Callable[..., Ended]
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


def ranking(lookalike: Lookalike, encoder: str, *arguments: str) -> list[tuple[str, float]]:
    """What is nearest to the first of what is given, best first, with its score."""
    ended = lookalike("encode", encoder, "--compare", "-o", "json", *arguments)
    assert ended.code in {0, 3}, ended.complaints
    rows = [json.loads(line) for line in ended.output.splitlines()]
    return [(row["name"], row["score"]) for row in rows]


def options(name: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("How old are you?", "What is your age"),
        ("What is the distance to our star?", "how far is the sun"),
        ("Which shoes fit you?", "What is your shoe size"),
        ("Who is your dad?", "Who is your father"),
    ],
)
def test_a_paraphrase_finds_what_is_meant(lookalike: Lookalike, asked: str, meant: str) -> None:
    known = real_data.questions()
    near = ranking(lookalike, "minilm-l6-v2", *options("--text", [asked, *known]))
    assert near[0][0] == meant
    assert len(near) == len(known)


@pytest.mark.parametrize(
    ("encoder", "edit"),
    [
        *(("efficientnet-lite0", edit) for edit in ("crop", "flip", "jpeg_20", "grey")),
        *(("phash-256", edit) for edit in ("jpeg_20", "grey")),  # neither parts nor mirror images
    ],
)
def test_an_edited_photo_finds_its_original(
    lookalike: Lookalike, tmp_path: Path, encoder: str, edit: str
) -> None:
    taken = photos.samples(tmp_path / "photos").paths()
    original = next(path for path in taken if path.stem == "chelsea")
    edited = tmp_path / "edited.png"
    change: Callable[[Image.Image], bytes] = getattr(edits, edit)
    edited.write_bytes(change(edits.upright(original.read_bytes())))
    near = ranking(lookalike, encoder, str(edited), *map(str, taken))
    assert near[0][0] == str(original)


def test_a_noisy_sound_finds_its_original(lookalike: Lookalike, tmp_path: Path) -> None:
    known = [path for path in real_data.sounds() if path.stem.startswith("loop_")]
    rng = np.random.default_rng(1)
    for original in known[::4]:
        samples, rate = soundfile.read(original, dtype="float32", always_2d=True)
        noise = rng.normal(size=samples.shape) * samples.std() * 10 ** (-25 / 20)
        noisy = tmp_path / f"{original.stem}.wav"  # half as loud, 25 dB above its noise
        soundfile.write(noisy, np.clip((samples + noise) / 2, -1, 1), rate, subtype="PCM_16")
        near = ranking(lookalike, "speech-embedding", str(noisy), *map(str, known))
        assert near[0][0] == str(original)


def test_a_randomised_smiles_finds_its_molecule(lookalike: Lookalike) -> None:
    drugs = real_data.drugs()[100:600]
    for original in drugs[::100]:
        molecule = Chem.MolFromSmiles(original)
        written = Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=7)[0]
        assert written != original
        near = ranking(lookalike, "morgan-2048", *options("--smiles", [written, *drugs]))
        assert near[0][0] == original
        assert near[0][1] == pytest.approx(1.0)


def test_a_reverse_complement_finds_its_gene_and_its_relative(
    lookalike: Lookalike, tmp_path: Path
) -> None:
    for strain in ("ScerR64_I", "SkudIFO1802_1"):
        for gene, bases in real_data.genes(strain).items():
            (tmp_path / f"{strain}-{gene}.fasta").write_text(f">{gene}\n{bases}\n")
    files = sorted(tmp_path.glob("*.fasta"))
    turned = tmp_path / "turned.fna"
    sought = real_data.genes("ScerR64_I")["CDC19"]
    turned.write_text(f">turned\n{sought.translate(_COMPLEMENT)[::-1]}\n")
    near = ranking(lookalike, "dna-kmer6", str(turned), *map(str, files))
    assert near[0][0] == str(tmp_path / "ScerR64_I-CDC19.fasta")
    assert near[0][1] == pytest.approx(1.0)
    assert Path(near[1][0]).stem.startswith("SkudIFO1802_1")


def test_words_find_a_photo(lookalike: Lookalike, tmp_path: Path) -> None:
    taken = photos.samples(tmp_path / "photos").paths()
    chelsea = next(path for path in taken if path.stem == "chelsea")
    query = tmp_path / "words.txt"
    query.write_text("a cat")
    near = ranking(lookalike, "conse", str(query), *map(str, taken))
    assert near[0][0] == str(chelsea)


def test_vectors_are_printed_one_a_line(lookalike: Lookalike) -> None:
    ended = lookalike("encode", "minilm-l6-v2", "--text", "one", "--text", " ", "-o", "json")
    (line,) = ended.output.splitlines()
    assert len(json.loads(line)["vector"]) == 384
    assert ended.code == 3
    assert "empty" in ended.complaints


def test_molecules_of_one_file_are_compared_all_with_all(
    lookalike: Lookalike, tmp_path: Path
) -> None:
    file = tmp_path / "drugs.smi"
    drugs = real_data.drugs()[:3]
    file.write_text("".join(f"{smiles} drug {place}\n" for place, smiles in enumerate(drugs)))
    ended = lookalike("encode", "morgan-2048", str(file), "--matrix", "-o", "json")
    rows = [json.loads(line) for line in ended.output.splitlines()]
    assert [row["name"] for row in rows] == [f"{file}:drug {place}" for place in range(3)]
    scores = np.array([row["scores"] for row in rows])
    assert np.array_equal(scores, scores.T)
    assert np.allclose(scores.diagonal(), 1)
    assert scores.max(initial=0, where=~np.eye(3, dtype=bool)) < 1


def test_numpys_format_is_all_or_nothing(lookalike: Lookalike) -> None:
    ended = lookalike("encode", "minilm-l6-v2", "--text", "one", "--text", " ", "-o", "npy")
    assert (ended.code, ended.output) == (1, "")
    assert "nothing was written" in ended.complaints


def test_encoders_are_listed_and_reloaded(lookalike: Lookalike) -> None:
    listed = json.load(io.StringIO(lookalike("encoders", "list", "-o", "json").output))
    assert "encoders/speech-embedding@1" in {each["name"] for each in listed}
    assert "phash-256@1 is ready" in lookalike("encoders", "reload", "phash-256").output
    assert lookalike("encoders", "get", "nothing").code == 1
