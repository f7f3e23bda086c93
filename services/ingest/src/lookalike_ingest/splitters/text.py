"""Texts: chunks at natural borders, of plain text, Markdown, HTML and PDF.

A chunk is encoded behind the title of its document, which says what it is about; its text, for
keyword search, is the chunk alone. Places count in the file's own text, of Markdown with its
marks; those of HTML and of a page of a PDF in the text that was found there.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal, Protocol, TypeAlias

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.decoding import Decoder
from lookalike_ingest.encoding import Content
from lookalike_ingest.job import Attributes
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Segment
from lookalike_ingest.steps.split import Kind, Part, SplitContext
from lookalike_ingest.texts.blocks import read_blocks
from lookalike_ingest.texts.chunks import CutLimits, Cutter, cut_chunks
from lookalike_ingest.texts.tokens import estimate_tokens

TextFormat: TypeAlias = Literal["plain", "markdown", "html", "pdf"]

_DEFAULT_TOKENS: Final = 256
"""What is cut for encoders that publish no limit."""
_FRAME_TOKENS: Final = 2
"""Tokens that models put around a text, which count in their limits."""
_TITLE_CHARS: Final = 300
_TITLE_SHARE: Final = 4
"""A title takes at most one in so many of a chunk's tokens."""
_HEAD_CHARS: Final = 2000
"""Where the heading of a Markdown text is looked for."""
_LIGHT_BYTES: Final = 1 << 14
_FORMATS: dict[str, TextFormat] = {
    "application/pdf": "pdf",
    "text/html": "html",
    "text/markdown": "markdown",
}


class Markdown(Protocol):
    """Knows what readers of Markdown see."""

    def plain(self, markdown: str) -> str:
        """Return the words."""

    def title(self, markdown: str) -> str:
        """Return the words of the heading that a text begins with, or nothing."""


@dataclass(frozen=True, slots=True)
class _Section:
    """A stretch of a document that is cut by itself: all of it, or one page."""

    title: str
    blocks: Iterator[str]
    page: int = 0
    pages: int = 0


class TextSplitter:
    """Cuts one document."""

    name = "text"

    def __init__(
        self,
        written_as: TextFormat,
        limits: CutLimits,
        *,
        heavy: bool,
        decoder: Decoder,
        cutter: Cutter,
        markdown: Markdown,
        max_pages: int,
    ) -> None:
        self._format = written_as
        self._limits = limits
        self._decoder = decoder
        self._cutter = cutter
        self._markdown = markdown
        self._max_pages = max_pages
        self.heavy = heavy

    @property
    def identity(self) -> str:
        """The first version, with what decides where borders lie."""
        return f"text@1,{self._format},{self._limits.tokens},{self._limits.overlap}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the chunks; of a text that is one chunk, the whole.

        Raises InvalidContentError for what is not UTF-8, or no document.
        """
        with original.open() as file:
            parts = self._parts(original, file)
            first = next(parts, None)
            if first is None:
                return
            second = next(parts, None)
            if second is None:
                page = first.segment.page if first.segment else 0
                segment = Segment(None, page) if page > 1 else None
                yield replace(first, segment=segment)
                return
            yield first
            yield second
            yield from parts

    def _parts(self, original: Original, file: BinaryIO) -> Iterator[Part]:
        index = 0
        for section in self._sections(original, file):
            title = section.title[:_TITLE_CHARS]
            if estimate_tokens(title) * _TITLE_SHARE > self._limits.tokens:
                title = ""
            limits = CutLimits(
                self._limits.tokens - estimate_tokens(title),
                self._limits.overlap,
                self._limits.markdown,
            )
            found = _attributes(section)
            for chunk in cut_chunks(section.blocks, self._cutter, limits):
                text = self._markdown.plain(chunk.text) if limits.markdown else chunk.text
                if not text:
                    continue  # marks and no words, such as a ruler
                data = text if text.startswith(title) else f"{title}\n\n{text}"
                content = Content(Modality.TEXT, data.encode())
                segment = Segment(chunk.span, section.page)
                yield Part(index, content, text, segment, found)
                index += 1

    def _sections(self, original: Original, file: BinaryIO) -> Iterator[_Section]:
        match self._format:
            case "plain":
                yield _Section("", read_blocks(file))
            case "markdown":
                blocks = read_blocks(file)
                head = next(blocks, "")
                title = self._markdown.title(head[:_HEAD_CHARS])
                yield _Section(title, _chain(head, blocks))
            case "html":
                yield from self._html(original)
            case "pdf":
                yield from self._pdf(original)

    def _html(self, original: Original) -> Iterator[_Section]:
        with closing(self._decoder.run("html", original, {})) as pieces:
            first = next(pieces, None)
            if first is not None:
                rest = (piece.data.decode() for piece in pieces)
                title = str(first.facts.get("title", ""))
                yield _Section(title, _chain(first.data.decode(), rest))

    def _pdf(self, original: Original) -> Iterator[_Section]:
        with closing(self._decoder.run("pdf", original, {"max_pages": self._max_pages})) as pages:
            for page in pages:
                number, count = page.facts.get("page"), page.facts.get("pages")
                if not isinstance(number, int) or not isinstance(count, int):
                    raise InvalidContentError("a page of the PDF has no number")
                title = str(page.facts.get("title", ""))
                yield _Section(title, iter([page.data.decode()]), number, count)


class TextSplitters:
    """Makes the splitters of texts."""

    def __init__(
        self, decoder: Decoder, cutter: Cutter, markdown: Markdown, *, max_pages: int
    ) -> None:
        self._decoder = decoder
        self._cutter = cutter
        self._markdown = markdown
        self._max_pages = max_pages

    def make(self, context: SplitContext, kind: Kind) -> TextSplitter:
        """See `MakeSplitter`."""
        written_as = _FORMATS.get(kind.media_type.name, "plain")
        tokens = chunk_tokens(context)
        overlap = min(context.options.text.overlap_tokens, tokens // 2)
        return TextSplitter(
            written_as,
            CutLimits(tokens, overlap, written_as == "markdown"),
            heavy=written_as in {"html", "pdf"} or kind.size > _LIGHT_BYTES,
            decoder=self._decoder,
            cutter=self._cutter,
            markdown=self._markdown,
            max_pages=self._max_pages,
        )


def chunk_tokens(context: SplitContext) -> int:
    """Return how many tokens a chunk has at most: what is asked for, and all encoders read."""
    read = [
        facts.max_tokens or _DEFAULT_TOKENS
        for facts in context.encoders.values()
        if Modality.TEXT in facts.modalities
    ]
    most = max(1, min(read, default=_DEFAULT_TOKENS) - _FRAME_TOKENS)
    return min(context.options.text.max_tokens or most, most)


def _attributes(section: _Section) -> Attributes:
    found: dict[str, str | int] = {}
    if section.title:
        found["title"] = section.title[:_TITLE_CHARS]
    if section.pages:
        found["pages"] = section.pages
    return dict(found)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
