"""Nucleotide sequences: the same vector for both strands, and what may be written."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike_encoder
from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    WrongModalityError,
)
from lookalike_encoder.content import Item, SequenceContent, TextContent
from lookalike_encoder.encoder import Prepared
from lookalike_encoder.encoders import dna
from lookalike_encoder.encoders.dna import DnaEncoder
from lookalike_encoder.golden import check_golden
from lookalike_encoder.manifest import ManifestError, load_manifest
from lookalike_media import Box

MODELS = Path(lookalike_encoder.__file__).parent / "models"
UNUSED: Any = None  # it needs no runtime


def dna_encoder(**limits: int) -> DnaEncoder:
    manifest = load_manifest(MODELS / "dna-kmer6")
    changed = manifest.limits.model_copy(update=limits)
    return DnaEncoder(manifest.model_copy(update={"limits": changed}), {}, UNUSED)


@pytest.fixture(scope="module")
def encoder() -> DnaEncoder:
    return dna_encoder()


def gene(seed: int, length: int = 2000, letters: str = "ACGT") -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def mirror(sequence: str) -> str:
    table = str.maketrans("ACGTURYSWKMBDHVN", "TGCAAYRSWMKVHDBN")
    return sequence.translate(table)[::-1]


def vectors(encoder: DnaEncoder, *sequences: str) -> list[NDArray[np.float32]]:
    results = encoder.prepare([Item(SequenceContent(each)) for each in sequences])
    assert all(isinstance(each, Prepared) for each in results), results
    return encoder.encode([each.rows[0] for each in results if isinstance(each, Prepared)])


def test_vectors_are_those_of_an_independent_implementation(encoder: DnaEncoder) -> None:
    check_golden(encoder)


@pytest.mark.parametrize("seed", range(20))
def test_both_strands_have_the_same_vector_to_the_last_bit(encoder: DnaEncoder, seed: int) -> None:
    letters = "ACGT" if seed % 2 else "ACGTACGTACGTACGTRYSWKMBDHVN"
    sequence = gene(seed, 6 + 37 * seed, letters) + "ACGTAC"
    forward, backward = vectors(encoder, sequence, mirror(sequence))
    assert forward.tobytes() == backward.tobytes()


def test_vectors_are_the_same_alone_and_in_company(encoder: DnaEncoder) -> None:
    sequences = [gene(seed, 50 + 700 * seed) for seed in range(8)]
    together = vectors(encoder, *sequences)
    for sequence, vector in zip(sequences, together, strict=True):
        assert vectors(encoder, sequence)[0].tobytes() == vector.tobytes()
        assert vector.dtype == np.float32
        assert np.isclose(np.linalg.norm(vector), 1)


def test_how_it_is_written_changes_nothing(encoder: DnaEncoder) -> None:
    sequence = gene(1, 300)
    lines = "\n".join(sequence[start : start + 60] for start in range(0, 300, 60))
    spellings = [
        sequence,
        sequence.lower(),
        sequence.replace("T", "U"),
        f"  {sequence}\n",
        f">gene 1 | not ACGT\n{lines}",
        f">\r\n{lines.replace(chr(10), chr(13) + chr(10))}\r\n",
        f"\n>name\n\n{lines}\n\n",
        " ".join(sequence),
    ]
    assert len({each.tobytes() for each in vectors(encoder, *spellings)}) == 1


def test_unknown_bases_interrupt_and_are_not_counted(encoder: DnaEncoder) -> None:
    left, right = gene(1, 100), gene(2, 100)
    for unknown in "NRYSWKMBDHVn-.":
        apart = vectors(encoder, left + unknown + right)[0]
        counts = sum(dna._count_kmers(dna.read_bases(each), 6) for each in (left, right))
        expected = np.bincount(dna.canonical_columns(6), counts, 2080)
        assert np.allclose(apart, expected / np.linalg.norm(expected), atol=1e-6)


def test_windows_change_nothing(encoder: DnaEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = gene(3, 1000, "ACGTN")
    (whole,) = vectors(encoder, sequence)
    for window in (1, 6, 7, 250, 995, 996):
        monkeypatch.setattr(dna, "_WINDOW", window)
        assert vectors(encoder, sequence)[0].tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        ("", "0 bases"),
        ("  \n", "0 bases"),
        ("ACGTA", "5 bases"),
        (">header only", "0 bases"),
        (">header\n", "0 bases"),
        ("NNNNNNNNNNNN", "no 6 bases in a row"),
        ("ACGTANACGTA", "no 6 bases in a row"),
        ("ACGTACGX", "'X'"),
        ("ACGTACG1", "'1'"),
        ("ACGTAC*", "'*'"),
        ("ACGTAC\0ACGTAC", r"'\x00'"),
        ("ACGTAC\ud800", "IUPAC"),
        ("ÄCGTACGT", "IUPAC"),
        (">a\nACGTACGT\n>b\nACGTACGT", "several records"),
        ("ACGTACGT>b\nACGTACGT", "several records"),
        ("MKVLAAGIVGLLLAQWERTY", "'L'"),
    ],
)
def test_what_is_no_sequence_fails_alone(encoder: DnaEncoder, sequence: str, words: str) -> None:
    items = [Item(SequenceContent(each)) for each in (gene(1), sequence, gene(2))]
    before, failed, after = encoder.prepare(items)
    assert isinstance(before, Prepared)
    assert isinstance(after, Prepared)
    assert isinstance(failed, InvalidContentError)
    assert failed.field == "content"
    assert words in failed.message


def test_long_sequences_are_refused() -> None:
    encoder = dna_encoder(max_bases=100, max_bytes=130)
    fits, bases, size = encoder.prepare(
        [
            Item(SequenceContent(f">{'x' * 20}\n{gene(1, 100)}")),
            Item(SequenceContent(gene(1, 101))),
            Item(SequenceContent(f">{'x' * 50}\n{gene(1, 100)}")),
        ]
    )
    assert isinstance(fits, Prepared)
    for failed in (bases, size):
        assert isinstance(failed, LimitExceededError)
        assert failed.field == "content"


def test_other_content_is_refused(encoder: DnaEncoder) -> None:
    text, region = encoder.prepare(
        [Item(TextContent("ACGTACGT")), Item(SequenceContent("ACGTACGT"), (Box(0, 0, 1, 1),))]
    )
    assert isinstance(text, WrongModalityError)
    assert isinstance(region, InvalidArgumentError)
    assert region.field == "regions"


def test_a_manifest_with_other_dimensions_is_refused() -> None:
    manifest = load_manifest(MODELS / "dna-kmer6")
    with pytest.raises(ManifestError, match="2080 canonical 6-mers"):
        DnaEncoder(manifest.model_copy(update={"dimensions": 4096}), {}, UNUSED)


def test_a_mutated_gene_is_nearer_than_another(encoder: DnaEncoder) -> None:
    sequence = gene(1)
    dice = random.Random(9)
    mutated = "".join(dice.choice("ACGT") if dice.random() < 0.1 else each for each in sequence)
    original, changed, other = vectors(encoder, sequence, mirror(mutated), gene(2))
    assert original @ changed > original @ other + 0.1


def test_work_is_counted_in_thousands_of_bases(encoder: DnaEncoder) -> None:
    assert encoder.estimate(Item(SequenceContent("A" * 10))) == 1
    assert encoder.estimate(Item(SequenceContent("A" * 100_000))) == 98
