"""Markdown to the words that a reader sees, by markdown-it; the only importer of it."""

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

_BREAKS = frozenset({"softbreak", "hardbreak"})
_WORDS = frozenset({"text", "code_inline", "image"})
_PARAGRAPH_ENDS = frozenset({"heading_close", "paragraph_close", "tr_close"})
_CODE = frozenset({"fence", "code_block"})


class MarkdownPlain:
    """Reads Markdown; HTML within it, and where links lead, is left out."""

    def __init__(self) -> None:
        self._markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])

    def plain(self, markdown: str) -> str:
        """Return the words: blocks on lines of their own, cells of a table beside each other."""
        words = "".join(_words(self._markdown.parse(markdown)))
        return "\n".join(line.strip() for line in words.splitlines()).strip()

    def title(self, markdown: str) -> str:
        """Return the words of the heading that the text begins with, or nothing."""
        tokens = self._markdown.parse(markdown)
        if len(tokens) < 2 or tokens[0].type != "heading_open" or tokens[0].tag != "h1":
            return ""
        return " ".join("".join(_inline(tokens[1].children or ())).split())


def _words(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield from _inline(token.children or ())
        elif token.type in _CODE:
            yield token.content + "\n"
        elif token.type in _PARAGRAPH_ENDS:
            yield "\n" if token.hidden or token.type == "tr_close" else "\n\n"
        elif token.type in {"td_close", "th_close"}:
            yield " "


def _inline(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in _BREAKS:
            yield "\n"
        elif token.type in _WORDS:
            yield token.content
