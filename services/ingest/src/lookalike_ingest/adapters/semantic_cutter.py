"""Natural borders of texts and Markdown, by semantic-text-splitter; the only importer of it."""

from collections.abc import Sequence

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from lookalike_ingest.texts.chunks import CutLimits


class SemanticCutter:
    """A `Cutter`: at headings, paragraphs, lines, sentences, words, in this order."""

    def cut(self, text: str, limits: CutLimits) -> Sequence[tuple[int, str]]:
        """Return the chunks, without blanks around them, and at which character each begins."""
        kind = MarkdownSplitter if limits.markdown else TextSplitter
        splitter = kind.from_callback(limits.size_of, limits.tokens, limits.overlap)
        return splitter.chunk_indices(text)
