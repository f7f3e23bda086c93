"""Texts in files: decoded piece by piece, cut at natural borders, every chunk found again."""

from __future__ import annotations

import codecs
import io
from itertools import pairwise
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.adapters.markdown_plain import MarkdownPlain
from lookalike_ingest.adapters.semantic_cutter import SemanticCutter
from lookalike_ingest.texts.blocks import read_blocks
from lookalike_ingest.texts.chunks import MAX_CHUNK_BYTES, CutLimits, TextChunk, cut_chunks
from lookalike_ingest.texts.tokens import estimate_tokens

WORDS = st.sampled_from(
    [
        "one",
        "übergroß",
        "naïve",
        "私は",
        "🙂",
        "12345.5",
        "\n",
        "\n\n",
        " ",
        "\r\n",
        "# A",
        "* b",
        "`c`",
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=120).map(" ".join)
PARAGRAPH = "The quick brown fox jumps over the lazy dog. It was not amused.\n\n"


def cut(text: str, limits: CutLimits, block: int = 1 << 18) -> list[TextChunk]:
    blocks = [text[start : start + block] for start in range(0, len(text), block)]
    return list(cut_chunks(blocks, SemanticCutter(), limits))


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 40), st.integers(0, 39), st.booleans())
def test_chunks_are_exact_slices_and_leave_out_blanks_only(
    text: str, tokens: int, overlap: int, markdown: bool
) -> None:
    limits = CutLimits(tokens, min(overlap, tokens - 1), markdown)
    data, chunks = text.encode(errors="ignore"), cut(text, limits)
    covered = bytearray(len(text))
    for chunk in chunks:
        span = chunk.span
        assert text[span.start_char : span.end_char] == chunk.text
        assert data[span.start_byte : span.end_byte].decode() == chunk.text
        assert chunk.text.strip()
        covered[span.start_char : span.end_char] = b"\1" * len(chunk.text)
    left_out = "".join(char for char, kept in zip(text, covered, strict=True) if not kept)
    assert not left_out.strip(), left_out


def test_chunks_of_a_long_text_do_not_depend_on_its_blocks() -> None:
    text = "".join(f"{number} für {PARAGRAPH}" for number in range(3000))
    data, limits = text.encode(), CutLimits(100, 40)
    chunks = cut(text, limits)
    spans = [each.span for each in chunks]
    texts = [each.text for each in chunks]
    assert [text[span.start_char : span.end_char] for span in spans] == texts
    assert [data[span.start_byte : span.end_byte].decode() for span in spans] == texts
    assert cut(text, limits, 4099) == cut(text, limits, 70_001)
    shared = [b.span.start_char < a.span.end_char for a, b in pairwise(chunks)]
    assert sum(shared) > len(shared) * 0.9


def test_chunks_keep_their_limits() -> None:
    text = PARAGRAPH * 50 + "私" * 2000 + "x" * 5000 + " 7" * 3000
    assert {estimate_tokens(each.text) <= 64 for each in cut(text, CutLimits(64))} == {True}
    huge = CutLimits(8192)
    sizes = [
        len(each.text.encode()) for each in cut("\u4e00" * 100_000 + " " * 300_000 + "a", huge)
    ]
    assert max(sizes) <= MAX_CHUNK_BYTES


def test_chunks_end_where_paragraphs_do() -> None:
    first, second = cut("A first one.\n\nIt is over here, and this is long enough.", CutLimits(12))
    assert first.text == "A first one."
    assert second.text.startswith("It is over")


def test_markdown_is_cut_before_headings() -> None:
    text = "# One\n\nalpha beta\n\n## Two\n\ngamma delta\n"
    chunks = cut(text, CutLimits(9, markdown=True))
    assert [each.text.splitlines()[0] for each in chunks] == ["# One", "## Two"]


def test_a_text_of_blanks_has_no_chunks() -> None:
    assert cut(" \n\t" * 100_000, CutLimits(10)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("word", 1),
        ("semantic", 2),
        ("1984", 2),
        ("人人生而自由", 6),
        ("a, b!", 4),
        (" \n", 0),
    ],
)
def test_tokens_are_estimated(text: str, expected: int) -> None:
    assert estimate_tokens(text) == expected


def blocks(data: bytes) -> str:
    return "".join(read_blocks(io.BytesIO(data)))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_texts_are_read_in_each_encoding(text: str) -> None:
    assert blocks(codecs.BOM_UTF8 + text.encode()) == text
    for order, mark in (("le", codecs.BOM_UTF16_LE), ("be", codecs.BOM_UTF16_BE)):
        assert blocks(mark + text.encode(f"utf-16-{order}")) == text


def test_a_character_may_lie_across_blocks() -> None:
    text = "a" + "私" * 200_000
    assert blocks(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"caf\xe9 au lait", "at byte 3"),
        (b"x" * 300_000 + b"\xff", "at byte 300000"),
        (b"x" * ((1 << 18) - 1) + b"\xe7\xa7", f"at byte {(1 << 18) - 1}"),
        ("no mark".encode("utf-16-le"), "NUL"),
        (codecs.BOM_UTF16_LE + b"a\0b", "UTF-16"),
        (codecs.BOM_UTF16_LE + b"\0\xd8a\0", "UTF-16"),
    ],
)
def test_other_encodings_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidContentError, match=words):
        blocks(data)


class Counting(io.RawIOBase):
    """A file of endless text, which counts what was read of it."""

    read_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.read_bytes += size
        return (PARAGRAPH * (size // len(PARAGRAPH) + 1)).encode()[:size]


def test_no_more_is_read_than_chunks_are_taken() -> None:
    endless: BinaryIO = Counting()  # type: ignore[assignment] # reads like one
    chunks = cut_chunks(read_blocks(endless), SemanticCutter(), CutLimits(50))
    for _ in range(2000):
        next(chunks)
    assert isinstance(endless, Counting)
    assert endless.read_bytes < 2_000_000


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("# Head *line*\n\nA [link](http://x.y 'no') and `code`.", "Head line\n\nA link and code."),
        ("- one\n- two\n\n> said\n> so", "one\ntwo\nsaid\nso"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a b\n1 2"),
        ("```py\nx = 1\n```\n\nafter", "x = 1\n\nafter"),
        ("![a cat](cat.png) &amp; <b>bold</b>", "a cat & bold"),
        ("<div>hidden</div>\n\nseen", "seen"),
    ],
)
def test_markdown_becomes_words(markdown: str, plain: str) -> None:
    assert MarkdownPlain().plain(markdown) == plain


@pytest.mark.parametrize(
    ("markdown", "title"),
    [("# The *title*\n\ntext", "The title"), ("text\n\n# late", ""), ("## second", ""), ("", "")],
)
def test_a_title_is_the_heading_a_text_begins_with(markdown: str, title: str) -> None:
    assert MarkdownPlain().title(markdown) == title
