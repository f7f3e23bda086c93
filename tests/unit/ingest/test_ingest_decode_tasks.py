"""What decoding makes of documents, pictures and molecules; the processes are tested apart."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pypdfium2
import pytest
from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_ingest.decode_tasks import html, image_parts, molecule, pdf
from lookalike_ingest.decoding import DecodeLimits
from tests.support.documents import make_pdf

LIMITS = DecodeLimits(max_pixels=10_000)


def page(source: str | bytes) -> tuple[str, str]:
    data = source.encode() if isinstance(source, str) else source
    pieces = list(html.run(io.BytesIO(data), {}, LIMITS))
    return str(pieces[0][0]["title"]), b"".join(text for _, text in pieces).decode()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>One <b>bo</b>ld<br>line\n more</p>two", "One bold\nline more\n\ntwo"),
        ("<ul><li>a<li>b</ul>c", "a\n\nb\n\nc"),
        ("<table><tr><td>1<td>2<tr><td>3</table>", "1 2\n\n3"),
        ("a<script>'<p>b'</script><style>c</style><template>d</template>e", "ae"),
        ("<pre>x = 1\ny = 2</pre>", "x = 1\ny = 2"),
        ("<p>&lt;b&gt; &amp; &#252;", "<b> & ü"),
        ("plain", "plain"),
        ("", ""),
        ("<svg><text>drawn</text></svg><noscript>none</noscript><p>seen", "seen"),
    ],
)
def test_pages_become_what_readers_see(source: str, words: str) -> None:
    assert page(source) == ("", words)


def test_a_page_has_a_title_and_long_ones_come_in_pieces() -> None:
    source = "<title>A\n &amp; B</title>" + "<p>ü paragraph</p>" * 40_000
    title, words = page(source)
    assert title == "A & B"
    assert words == "\n\n".join(["ü paragraph"] * 40_000)
    assert max(len(text) for _, text in html.run(io.BytesIO(source.encode()), {}, LIMITS)) < 1 << 20


@pytest.mark.parametrize("source", [b"<p>caf\xe9", "<frameset><frame></frameset>"])
def test_pages_that_cannot_be_read_are_refused(source: str | bytes) -> None:
    with pytest.raises(InvalidContentError):
        page(source)


def pages(data: bytes, most: int = 100) -> list[tuple[dict[str, Any], str]]:
    found = pdf.run(io.BytesIO(data), {"max_pages": most}, LIMITS)
    return [(dict(each[0]), each[1].decode()) for each in found if each]


def test_a_pdf_is_read_page_by_page() -> None:
    data = make_pdf(["First page.", "", "The third one"], title="A report")
    assert pages(data) == [
        ({"page": 1, "pages": 3, "title": "A report"}, "First page."),
        ({"page": 3, "pages": 3, "title": "A report"}, "The third one"),
    ]


def locked_pdf() -> bytes:
    """Return a PDF whose encryption nobody can open: its key is not the owner's nor the user's."""
    data = make_pdf(["secret"])
    entry = (
        b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -44 /O ("
        + b"o" * 32
        + b") /U ("
        + b"u" * 32
        + b") >> /ID [(a) (a)] /Root"
    )
    return data.replace(b"/Root", entry)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n", InvalidContentError),
        (make_pdf(["x"])[:300], InvalidContentError),
        (locked_pdf(), UnsupportedMediaError),
        (make_pdf(["x"] * 101), LimitExceededError),
    ],
)
def test_pdfs_that_cannot_be_read_are_refused(data: bytes, kind: type[LookalikeError]) -> None:
    with pytest.raises(kind):
        pages(data)


def picture(width: int, height: int) -> tuple[bytes, np.ndarray[Any, Any]]:
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


def test_a_picture_is_cut_into_boxes_and_tiles() -> None:
    data, pixels = picture(25, 10)
    arguments: dict[str, Any] = {"boxes": [[3, 2, 4, 5]], "tile_pixels": 10}
    parts = list(image_parts.run(io.BytesIO(data), arguments, LIMITS))
    boxes = [(f["x"], f["y"], f["width"], f["height"]) for f, _ in parts]
    assert boxes == [(3, 2, 4, 5), (0, 0, 10, 10), (10, 0, 10, 10), (15, 0, 10, 10)]
    for (x, y, width, height), (_, cut) in zip(boxes, parts, strict=True):
        assert isinstance(x, int)
        assert isinstance(y, int)
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert cut == pixels[y : y + height, x : x + width].tobytes()


@pytest.mark.parametrize(
    ("size", "arguments", "kind"),
    [
        ((101, 100), {"tile_pixels": 50}, LimitExceededError),
        ((10, 10), {"boxes": [[5, 5, 6, 1]]}, InvalidContentError),
        ((10, 10), {"boxes": [[5, 5]]}, InvalidContentError),
    ],
)
def test_parts_beyond_limits_are_refused(
    size: tuple[int, int], arguments: dict[str, Any], kind: type[LookalikeError]
) -> None:
    with pytest.raises(kind):
        list(image_parts.run(io.BytesIO(picture(*size)[0]), arguments, LIMITS))


def read(data: bytes, written_as: str = "smiles", **arguments: Any) -> dict[str, Any]:
    ((facts, _),) = molecule.run(io.BytesIO(data), {"format": written_as, **arguments}, LIMITS)
    return dict(facts)


def sd_record(smiles: str, **properties: str) -> bytes:
    structure = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(structure, randomSeed=1)
    structure.SetProp("_Name", "its name")
    for name, value in properties.items():
        structure.SetProp(name, value)
    buffer = io.StringIO()
    writer = Chem.SDWriter(buffer)
    writer.write(structure)
    writer.close()
    return buffer.getvalue().encode()


def test_one_molecule_written_in_two_ways_has_one_key() -> None:
    assert read(b"OC(=O)C acetic acid") == read(b"CC(O)=O\n")
    assert read(b"CC(=O)O")["inchi_key"] == "QTBSBXVTEAMEQO-UHFFFAOYSA-N"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_sd_record_has_its_stereochemistry_and_properties(end: bytes) -> None:
    data = sd_record("C[C@H](N)C(=O)O", number="007").replace(b"\n", end)
    facts = read(data, "sdf")
    assert facts["smiles"] == "C[C@H](N)C(=O)O"
    assert (facts["name"], facts["properties"]) == ("its name", {"number": "007"})


@pytest.mark.parametrize(
    ("smiles", "stripped"),
    [
        (b"CC(=O)[O-].[Na+]", "CC(=O)[O-]"),
        (b"O.Cl.CCN", "CCN"),
        (b"OC(=O)c1ccccc1.[Fe]", "O=C(O)c1ccccc1"),
        (b"CCO", "CCO"),
    ],
)
def test_salts_and_solvents_are_left_out(smiles: bytes, stripped: str) -> None:
    assert read(smiles, strip_salts=True)["smiles"] == stripped


@pytest.mark.parametrize(
    ("data", "written_as", "kind"),
    [
        (b"", "smiles", InvalidContentError),
        (b"c1ccc", "smiles", InvalidContentError),
        (b"C(C)(C)(C)(C)C", "smiles", InvalidContentError),
        (b"\xff", "smiles", InvalidContentError),
        (b"C" * 5000, "smiles", LimitExceededError),
        (b"C" * (1 << 20) + b"C", "smiles", LimitExceededError),
        (b"", "sdf", InvalidContentError),
        (sd_record("CCO")[:120], "sdf", InvalidContentError),
        (sd_record("CCO").replace(b" C ", b" Qq", 1), "sdf", InvalidContentError),
    ],
)
def test_what_is_no_molecule_is_refused(
    data: bytes, written_as: str, kind: type[LookalikeError]
) -> None:
    with pytest.raises(kind):
        read(data, written_as)


def test_the_pdfs_of_these_tests_are_pdfs() -> None:
    assert len(pypdfium2.PdfDocument(make_pdf(["a", "b"]))) == 2
