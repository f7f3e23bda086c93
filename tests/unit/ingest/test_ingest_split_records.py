"""Sequences and molecules, one record at a time."""

from __future__ import annotations

import pytest

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.encoding import Content
from lookalike_ingest.job import MoleculeOptions, SequenceOptions, SplitterOptions
from lookalike_ingest.media_types import Modality
from lookalike_ingest.segments import Segment, SequenceSpan, Strand
from lookalike_ingest.splitters.molecule import MoleculeSplitters
from lookalike_ingest.splitters.sequence import SequenceSplitters
from lookalike_ingest.steps.split import Part
from tests.support.splitting import InlineDecoder, original_of, parts_of, split_context

SD_RECORD = b"""an ethanol
  test

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 C   0  0
    2.0000    0.0000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
> <CAS number>
64-17-5

$$$$
"""


def bases(data: bytes, window: int = 0, step: int = 0, *, both: bool = False) -> list[Part]:
    options = SplitterOptions(sequence=SequenceOptions(window, step, both))
    original = original_of(data, given_as=Modality.SEQUENCE)
    return parts_of(SequenceSplitters.make, split_context(options), original)


def spans(parts: list[Part]) -> list[tuple[int, int, Strand]]:
    found = [part.segment.span if part.segment else None for part in parts]
    return [(s.start, s.end, s.strand) for s in found if isinstance(s, SequenceSpan)]


def contents(parts: list[Part]) -> list[bytes]:
    return [part.content.data for part in parts if part.content]


def test_a_record_stays_whole_and_reads_the_same_from_both_strands() -> None:
    (forward,), (reverse,) = bases(b">r1 x\nTTTTG\n"), bases(b"CAAAA")
    assert forward == Part(0, Content(Modality.SEQUENCE, b"CAAAA"), "TTTTG")
    assert forward.content == reverse.content


def test_windows_overlap_by_half_and_end_with_the_record() -> None:
    parts = bases(b">r1\nACGTACGTAC\n", window=4)
    starts = [0, 2, 4, 6]
    assert spans(parts) == [(start, start + 4, Strand.BOTH) for start in starts]
    assert [part.text for part in parts] == [b"ACGTACGTAC"[s : s + 4].decode() for s in starts]
    assert parts[0].segment == Segment(SequenceSpan("r1", 0, 4))
    assert spans(bases(b"ACGTACGTAC", window=4, step=5))[-1] == (6, 10, Strand.BOTH)


def test_both_strands_are_two_entities_each() -> None:
    parts = bases(b">r\nAACC", both=True)
    assert contents(parts) == [b"AACC", b"GGTT"]
    assert [part.text for part in parts] == ["AACC", "GGTT"]
    assert spans(parts) == [(0, 4, Strand.FORWARD), (0, 4, Strand.REVERSE)]
    assert len(bases(b"AACCGG", window=4, step=2, both=True)) == 4


def test_windows_of_gaps_are_left_out() -> None:
    parts = bases(b"ACGT" + b"N" * 20 + b"ACGT", window=4, step=4)
    assert spans(parts) == [(0, 4, Strand.BOTH), (24, 28, Strand.BOTH)]
    assert bases(b"N" * 40, window=4) == []


def test_a_chromosome_has_no_text_but_vectors() -> None:
    (part,) = bases(b"ACGT" * 20_000)
    assert part.text == ""
    assert part.size == 80_000


def test_letters_of_no_base_are_refused() -> None:
    assert bases(b"") == []
    with pytest.raises(InvalidContentError, match="'J'"):
        bases(b"ACGJ")


def molecule(data: bytes, *, strip: bool = False) -> Part:
    options = SplitterOptions(molecule=MoleculeOptions(strip_salts=strip))
    original = original_of(data, given_as=Modality.MOLECULE)
    splitters = MoleculeSplitters(InlineDecoder())
    (part,) = parts_of(splitters.make, split_context(options), original)
    return part


@pytest.mark.parametrize("data", [b"OCC", b" OCC an ethanol\n", b"\xef\xbb\xbfOCC"])
def test_smiles_are_handed_on_as_they_are(data: bytes) -> None:
    assert molecule(data) == Part(0, Content(Modality.MOLECULE, b"OCC"), "OCC")


def test_an_sd_record_brings_its_properties() -> None:
    part = molecule(SD_RECORD)
    assert part.content == Content(Modality.MOLECULE, b"CCO")
    assert part.record == {"CAS_number": "64-17-5"}
    assert part.attributes == {"name": "an ethanol", "inchi_key": "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"}


def test_salts_are_stripped_where_that_is_asked_for() -> None:
    assert molecule(b"CC(=O)[O-].[Na+] acetate", strip=True).text == "CC(=O)[O-]"
    assert molecule(b"CC(=O)[O-].[Na+] acetate").text == "CC(=O)[O-].[Na+]"


@pytest.mark.parametrize(
    ("data", "strip"),
    [(b" ", False), (b"\xff", False), (b"C1CC", True), (SD_RECORD.replace(b" C ", b" Qq"), False)],
)
def test_what_is_no_molecule_is_refused(data: bytes, strip: bool) -> None:
    with pytest.raises(InvalidContentError):
        molecule(data, strip=strip)
