"""Documents of every kind become chunks that can be found again, and searched by words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.adapters.markdown_plain import MarkdownPlain
from lookalike_ingest.adapters.semantic_cutter import SemanticCutter
from lookalike_ingest.encoding import Content
from lookalike_ingest.job import SplitterOptions, TextOptions
from lookalike_ingest.media_types import Modality, detect_media, name_text
from lookalike_ingest.segments import Segment, TextSpan
from lookalike_ingest.splitters.text import TextSplitters, chunk_tokens
from lookalike_ingest.steps.split import Kind, Part
from lookalike_ingest.texts.tokens import estimate_tokens
from tests.support.documents import make_pdf
from tests.support.splitting import InlineDecoder, original_of, parts_of, split_context

SENTENCES = [f"Sentence number {number} says something of its own." for number in range(60)]
TEXT = " ".join(SENTENCES)
SPLITTERS = TextSplitters(InlineDecoder(), SemanticCutter(), MarkdownPlain(), max_pages=3)


def split(data: bytes, name: str = "", *, tokens: int = 0, overlap: int = 0) -> list[Part]:
    options = SplitterOptions(text=TextOptions(tokens, overlap))
    given_as = None if name else Modality.TEXT
    return parts_of(SPLITTERS.make, split_context(options), original_of(data, name, given_as))


def encoded(part: Part) -> str:
    assert part.content is not None
    return part.content.data.decode()


def span_of(part: Part) -> TextSpan:
    assert part.segment is not None
    assert isinstance(part.segment.span, TextSpan)
    return part.segment.span


def test_a_short_text_stays_whole() -> None:
    (part,) = split(b" A few words.\n")
    assert part == Part(0, Content(Modality.TEXT, b"A few words."), "A few words.")


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_a_long_text_is_cut_into_chunks_that_are_found_again(name: str) -> None:
    data = ("ü " + TEXT).encode()
    parts = split(data, name, tokens=40)
    assert len(parts) > 15
    for part in parts:
        span = span_of(part)
        assert data[span.start_byte : span.end_byte].decode() == part.text == encoded(part)
        assert data.decode()[span.start_char : span.end_char] == part.text
    assert " ".join(part.text for part in parts) == data.decode()


def test_chunks_overlap_where_that_is_asked_for() -> None:
    parts = split(TEXT.encode(), tokens=40, overlap=20)
    spans = [span_of(part) for part in parts]
    assert all(b.start_byte < a.end_byte for a, b in pairwise(spans))


def test_chunks_of_markdown_are_words_behind_the_title() -> None:
    paragraphs = "\n\n".join(SENTENCES)
    data = f"# On *sentences*\n\n**Bold** words.\n\n## Part\n\n{paragraphs}".encode()
    parts = split(data, "a.md", tokens=60)
    assert parts[0].text.startswith("On sentences\n\nBold words.")
    assert encoded(parts[0]) == parts[0].text
    assert parts[1].text.startswith("Part\n\nSentence number 0")
    assert all(encoded(part) == f"On sentences\n\n{part.text}" for part in parts[1:])
    assert {part.attributes["title"] for part in parts} == {"On sentences"}
    assert max(estimate_tokens(encoded(part)) for part in parts) <= 60
    assert data[span_of(parts[1]).start_byte :].startswith(b"## Part")


def test_a_page_is_words_behind_its_title() -> None:
    title = "A page about sentences of all kinds"
    data = f"<html><title>{title}</title><body><script>x</script>{TEXT}</body>".encode()
    for name in ("a.html", "download"):
        parts = split(data, name, tokens=60)
        assert len(parts) > 10
        assert all(encoded(part) == f"{title}\n\n{part.text}" for part in parts)
        assert max(estimate_tokens(encoded(part)) for part in parts) <= 60
        assert " ".join(part.text for part in parts) == TEXT


def test_a_pdf_is_cut_page_by_page() -> None:
    data = make_pdf([" ".join(SENTENCES[:1]), "", TEXT[:1500]], title="Report")
    parts = split(data, "a.pdf", tokens=40)
    pages = [part.segment.page if part.segment else 0 for part in parts]
    assert pages[0] == 1
    assert set(pages[1:]) == {3}
    assert len(parts) > 5
    assert encoded(parts[0]) == f"Report\n\n{SENTENCES[0]}"
    assert parts[0].attributes == {"title": "Report", "pages": 3}


def test_a_pdf_of_one_chunk_stays_whole_and_names_a_later_page() -> None:
    assert split(make_pdf(["one line"]), "a.pdf")[0].segment is None
    assert split(make_pdf(["", "one line"]), "a.pdf")[0].segment == Segment(None, 2)


@pytest.mark.parametrize(
    ("data", "name"),
    [(b" \n", ""), (make_pdf(["", ""]), "a.pdf"), (b"<html><body>", "a"), (b"---\n***\n", "a.md")],
)
def test_what_has_no_words_has_no_parts(data: bytes, name: str) -> None:
    assert split(data, name) == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"caf\xe9", "a.txt"),
        (b"no pdf", "a.pdf"),
        (b"%PDF-1.7 no more", "a"),
        (b"<html>\xff", "a.html"),
        (TEXT.encode() + b"\xff", "a.md"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(InvalidContentError):
        split(data, name)


def test_a_pdf_of_too_many_pages_is_refused() -> None:
    assert len(split(make_pdf(["x"] * 3), "a.pdf")) == 3
    with pytest.raises(LimitExceededError):
        split(make_pdf(["x"] * 4), "a.pdf")


def test_utf_16_is_read() -> None:
    (part,) = split("ein Satz für sich".encode("utf-16"), "a.txt")
    assert part.text == "ein Satz für sich"


def test_a_title_that_would_fill_a_chunk_is_left_out() -> None:
    data = f"# {'very ' * 40}long\n\n{TEXT}".encode()
    parts = split(data, "a.md", tokens=60)
    assert encoded(parts[-1]) == parts[-1].text


@pytest.mark.parametrize(
    ("asked", "read", "tokens"), [(0, 256, 254), (0, 0, 254), (100, 256, 100), (900, 512, 510)]
)
def test_a_chunk_is_what_the_encoder_reads_or_less(asked: int, read: int, tokens: int) -> None:
    options = SplitterOptions(text=TextOptions(asked))
    assert chunk_tokens(split_context(options, max_tokens=read)) == tokens


def test_other_options_make_other_entities() -> None:
    def identity(tokens: int, overlap: int, name: str) -> str:
        media_type = name_text(detect_media(b""), b"", name)
        context = split_context(SplitterOptions(text=TextOptions(tokens, overlap)))
        return SPLITTERS.make(context, Kind(Modality.TEXT, media_type, name, 9)).identity

    names = {
        identity(tokens, overlap, name)
        for tokens in (50, 60)
        for overlap in (0, 5)
        for name in ("a.md", "a.txt")
    }
    assert len(names) == 8


@pytest.mark.parametrize(
    ("prefix", "name", "media_type"),
    [
        (b"BMW makes cars", "cars.txt", "text/plain"),
        (b"BM\0\0\0\0\0\0", "x.txt", "image/bmp"),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML>", "x", "text/html"),
        (b"# Title", "README.MD", "text/markdown"),
        (b"%PDF-1.4", "x.txt", "application/pdf"),
        (b"plain", "x", "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n", "x.png", "image/png"),
    ],
)
def test_texts_are_told_by_name_and_by_how_they_begin(
    prefix: bytes, name: str, media_type: str
) -> None:
    assert name_text(detect_media(prefix), prefix, name).name == media_type
