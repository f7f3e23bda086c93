"""Molecules: bits, canonical SMILES, and structures within structures, by the real toolkit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike_common.errors import (
    InternalError,
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    WrongModalityError,
)
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions
from lookalike_encoder.content import Item, Operation, SequenceContent, SmilesContent, TextContent
from lookalike_encoder.encoder import Prepared
from lookalike_encoder.encoders.molecule import MoleculeEncoder
from lookalike_encoder.golden import check_golden
from lookalike_encoder.manifest import load_manifest
from lookalike_encoder.structure import MAX_STEPS, Relation, StructureQuery
from lookalike_media import Box

DRUGS = {
    "aspirin": ("CC(=O)Oc1ccccc1C(=O)O", "O=C(C)OC1=CC=CC=C1C(O)=O", "c1ccc(OC(C)=O)c(c1)C(O)=O"),
    "caffeine": ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"),
    "ibuprofen": ("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "OC(=O)C(C)c1ccc(CC(C)C)cc1"),
    "alanine": ("N[C@@H](C)C(=O)O", "C[C@H](N)C(O)=O", "[H]N([H])[C@@]([H])(C)C(=O)O[H]"),
    "ion": ("CC(=O)[O-].[Na+]", "[Na+].[O-]C(C)=O"),
    "stilbene": ("C(=C/c1ccccc1)\\c1ccccc1", "c1ccc(/C=C/c2ccccc2)cc1"),
}
FULLERENE = (
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6"
    "c%11c2c2c7c3c3c8c4c4c9c5c1c1c6c2c3c41"
)


def molecule_encoder(models_folder: Path, **preprocessing: Any) -> MoleculeEncoder:
    manifest = load_manifest(models_folder / "morgan-2048")
    changed = {**manifest.preprocessing, **preprocessing}
    with ThreadPoolExecutor(1) as threads:
        runtime = LocalRuntime(OrtOptions(device="cpu"), threads)
        return MoleculeEncoder(manifest.model_copy(update={"preprocessing": changed}), {}, runtime)


@pytest.fixture(scope="module")
def encoder() -> MoleculeEncoder:
    import lookalike_encoder

    return molecule_encoder(Path(lookalike_encoder.__file__).parent / "models")


def molecule(smiles: str) -> Item:
    return Item(SmilesContent(smiles))


def prepared(encoder: MoleculeEncoder, *items: Item) -> list[Prepared]:
    results = encoder.prepare(items)
    assert all(isinstance(each, Prepared) for each in results), results
    return [each for each in results if isinstance(each, Prepared)]


def bits(encoder: MoleculeEncoder, *smiles: str) -> list[bytes]:
    rows = [each.rows[0] for each in prepared(encoder, *map(molecule, smiles))]
    return [each.tobytes() for each in encoder.encode(rows)]


def test_bits_are_those_of_an_independent_implementation(encoder: MoleculeEncoder) -> None:
    check_golden(encoder)


@pytest.mark.parametrize("spellings", DRUGS.values(), ids=DRUGS)
def test_spelling_changes_nothing(encoder: MoleculeEncoder, spellings: tuple[str, ...]) -> None:
    assert len(set(bits(encoder, *spellings))) == 1
    canonical = {each.canonical for each in prepared(encoder, *map(molecule, spellings))}
    assert len(canonical) == 1
    assert {each.canonical for each in prepared(encoder, *map(molecule, canonical))} == canonical


def test_bits_are_the_same_alone_and_in_company(encoder: MoleculeEncoder) -> None:
    everything = [spelling for spellings in DRUGS.values() for spelling in spellings]
    assert bits(encoder, *everything) == [bits(encoder, each)[0] for each in everything]
    assert all(len(each) == 256 for each in bits(encoder, *everything))


def test_salts_count_as_written_or_not_at_all(models_folder: Path) -> None:
    salt, free = molecule("CCN(CC)CC.Cl"), molecule("CCN(CC)CC")
    for fragments, same in (("all", False), ("largest", True)):
        encoder = molecule_encoder(models_folder, fragments=fragments)
        first, second = prepared(encoder, salt, free)
        one, two = encoder.encode([first.rows[0], second.rows[0]])
        assert np.array_equal(one, two) is same
        assert (first.canonical == second.canonical) is same


def test_of_equal_fragments_the_choice_does_not_depend_on_their_order(models_folder: Path) -> None:
    encoder = molecule_encoder(models_folder, fragments="largest")
    first, second = prepared(encoder, molecule("CCO.CCN"), molecule("CCN.CCO"))
    assert first.canonical == second.canonical


@pytest.mark.parametrize(
    ("smiles", "error", "words"),
    [
        ("", InvalidContentError, "empty"),
        (" \t\n", InvalidContentError, "empty"),
        ("C(C", InvalidContentError, "syntax"),
        ("C1CC", InvalidContentError, "syntax"),
        ("C)", InvalidContentError, "syntax"),
        ("not a molecule", InvalidContentError, "printable"),
        ("CCO ethanol", InvalidContentError, "printable"),
        ("CC\0O", InvalidContentError, "printable"),
        ("C\ud800C", InvalidContentError, "printable"),
        ("水", InvalidContentError, "printable"),
        ("C(C)(C)(C)(C)C", InvalidContentError, "valence"),
        ("c1cccc1", InvalidContentError, "kekulize"),
        ("[Xx]", InvalidContentError, "syntax"),
        ("C" * 1001, LimitExceededError, "1001 atoms"),
        ("C" * 100_000, LimitExceededError, "100000 characters"),
        ("*" * 1001, LimitExceededError, "1001 atoms"),
        ("[H]" * 1300, InvalidContentError, "valence"),
        ("C.", InvalidContentError, "syntax"),
    ],
)
def test_what_is_no_molecule_fails_alone(
    encoder: MoleculeEncoder, smiles: str, error: type[LookalikeError], words: str
) -> None:
    before, failed, after = encoder.prepare([molecule("C"), molecule(smiles), molecule("CO")])
    assert isinstance(before, Prepared)
    assert isinstance(after, Prepared)
    assert type(failed) is error
    assert failed.field == "content"
    assert words in failed.message


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("C1CC1" * 151, "151 rings"),
        ("C1" + "C2CC(C2)" * 11 + "C1", "2059 ways"),
        ("C1" + "C2CC(C2)" * 30 + "C1", "ways"),
        ("C1" + "C2CC(C2)" * 31 + "C1", "32 rings fused"),
        ("C1" + "c2ccc(cc2)" * 100 + "C1", "101 rings fused"),
        (FULLERENE.replace("c3c8c4c4c9c5", "c3c8c4c4c9" + "c4c9" * 50 + "c5"), "81 rings fused"),
    ],
)
def test_rings_that_would_take_for_ever_are_refused_at_once(
    encoder: MoleculeEncoder, smiles: str, words: str
) -> None:
    """RDKit lists all shortest ways round: of these 2^30, until the memory is full."""
    (failed,) = encoder.prepare([molecule(smiles)])
    assert isinstance(failed, LimitExceededError)
    assert words in failed.message


@pytest.mark.parametrize("rings", ["C1CC1" * 150, "C1" + "c2ccc(cc2)" * 10 + "C1"])
def test_many_rings_are_fine(encoder: MoleculeEncoder, rings: str) -> None:
    assert len(bits(encoder, rings)[0]) == 256


@pytest.mark.parametrize(
    "smiles",
    [
        "[CH3]",
        "C[CH]C",
        "C1" + "C" * 900 + "1",
        "[He]",
        "[H][H]",
        "[2H]O[2H]",
        FULLERENE,
        "*C",
    ],
)
def test_odd_molecules_are_molecules(encoder: MoleculeEncoder, smiles: str) -> None:
    assert len(bits(encoder, smiles)[0]) == 256


def test_other_content_is_refused(encoder: MoleculeEncoder) -> None:
    text, region, sequence = encoder.prepare(
        [
            Item(TextContent("C")),
            Item(SmilesContent("C"), (Box(0, 0, 1, 1),)),
            Item(SequenceContent("C")),
        ]
    )
    assert isinstance(text, WrongModalityError)
    assert isinstance(sequence, WrongModalityError)
    assert isinstance(region, InvalidArgumentError)
    assert region.field == "regions"


def match(
    encoder: MoleculeEncoder, query: StructureQuery, *candidates: str
) -> list[list[int] | LookalikeError]:
    items = [
        Item(SmilesContent(each), operation=Operation.MATCH_STRUCTURE, structure=query)
        for each in candidates
    ]
    return [
        encoder.encode(each.rows)[0].tolist() if isinstance(each, Prepared) else each
        for each in encoder.prepare(items)
    ]


def pattern(smarts: str) -> StructureQuery:
    return StructureQuery(smarts, True, Relation.SUBSTRUCTURE)


def test_atoms_are_counted_as_they_stand_in_the_smiles(encoder: MoleculeEncoder) -> None:
    """Hydrogens that are written out are left out of the molecule, not out of the count."""
    found = match(encoder, pattern("CO"), "CO", "OC", "[H]C([H])([H])O[H]", "[2H]OC")
    assert found == [[0, 1], [1, 0], [1, 4], [2, 1]]


def test_chirality_counts_where_it_is_asked_for(encoder: MoleculeEncoder) -> None:
    left, right = "N[C@@H](C)C(=O)O", "N[C@H](C)C(=O)O"
    for relation in Relation:
        for counts in (False, True):
            query = StructureQuery(left, False, relation, counts)
            same, other = match(encoder, query, left, right)
            assert same != [-1]
            assert (other == [-1]) is counts, relation


def test_exact_compares_molecules_and_not_bits(encoder: MoleculeEncoder) -> None:
    """Long chains share all their bits."""
    short, long = "C" * 20, "C" * 21
    assert len(set(bits(encoder, short, long))) == 1
    assert match(encoder, StructureQuery(short, False, Relation.EXACT), short, long) == [[], [-1]]


def test_isotopes_are_other_molecules(encoder: MoleculeEncoder) -> None:
    query = StructureQuery("CCO", False, Relation.EXACT)
    assert match(encoder, query, "C[13CH2]O", "[2H]CCO") == [[-1], [-1]]


@pytest.mark.parametrize(
    "smarts",
    [
        "[#6]~" * 40 + "[#7]",
        "[$(" + "*~" * 40 + "[#7])]",
        "[!$(" + "*~" * 40 + "[#7])]",
        "[#6]~" * 20 + "[$(" + "*~" * 40 + "[#7])]",
    ],
)
def test_a_pattern_that_would_take_for_ever_is_given_up(
    encoder: MoleculeEncoder, smarts: str
) -> None:
    query = pattern(smarts)
    given_up, fine = match(encoder, query, FULLERENE, "C")
    assert isinstance(given_up, LimitExceededError)
    assert f"{MAX_STEPS} steps" in given_up.message
    assert not given_up.field
    assert isinstance(fine, list)


def test_the_steps_of_a_call_are_bounded_together(encoder: MoleculeEncoder) -> None:
    query = pattern("[#6]~" * 40 + "[#7]")
    query.effort.steps = 2 * MAX_STEPS
    first, second, third, other = match(encoder, query, FULLERENE, FULLERENE, FULLERENE, "CN")
    for each in (first, second):
        assert isinstance(each, LimitExceededError)
        assert "more than" in each.message
    for each in (third, other):
        assert isinstance(each, LimitExceededError)
        assert "before this one" in each.message
    assert match(encoder, pattern("N"), "CN") == [[1]]


@pytest.mark.parametrize("depth", [10, 816])
def test_deep_patterns_are_answered(encoder: MoleculeEncoder, depth: int) -> None:
    (found,) = match(encoder, pattern("[$(" * depth + "*" + ")]" * depth), "CCO")
    assert found == [0]


@pytest.mark.parametrize("text", ["", "[C", "C(", "[$(C]", "水", "C\0", "C C", "[C" * 2000])
def test_a_query_that_cannot_be_read_says_so(encoder: MoleculeEncoder, text: str) -> None:
    for is_pattern, field in ((True, "smarts"), (False, "smiles")):
        query = StructureQuery(text, is_pattern, Relation.SUBSTRUCTURE)
        for failed in match(encoder, query, "C", "CC"):
            assert isinstance(failed, InvalidContentError)
            assert failed.field == field


def test_nothing_to_match_with_is_a_defect(encoder: MoleculeEncoder) -> None:
    item = Item(SmilesContent("C"), operation=Operation.MATCH_STRUCTURE)
    (failed,) = encoder.prepare([item])
    assert isinstance(failed, InternalError)


def test_rows_of_both_operations_share_a_run(encoder: MoleculeEncoder) -> None:
    query = pattern("O")
    items = [
        molecule("CO"),
        Item(SmilesContent("CO"), operation=Operation.MATCH_STRUCTURE, structure=query),
        molecule("CN"),
    ]
    rows = [each.rows[0] for each in prepared(encoder, *items)]
    first, matched, last = encoder.encode(rows)
    assert [first.tobytes(), last.tobytes()] == bits(encoder, "CO", "CN")
    assert matched.tolist() == [1]


def test_the_toolkit_writes_nothing(
    encoder: MoleculeEncoder, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder.prepare([molecule("C(C"), molecule("c1cccc1"), molecule("C(C)(C)(C)(C)C")])
    match(encoder, pattern("[C"), "C")
    assert capfd.readouterr() == ("", "")
