"""Cuts a text into chunks at natural borders, and knows exactly where each of them stood."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lookalike_ingest.segments import TextSpan
from lookalike_ingest.texts.tokens import estimate_tokens

MAX_CHUNK_BYTES = 60_000
"""UTF-8 bytes of a chunk at most: an entity's text has 65,535, and a title may come before it."""
_LOOK_AHEAD = 1 << 16
"""Characters that are cut at once: what is near the end of them waits for what follows."""
_CHARACTERS_PER_TOKEN = 8  # more than in nearly all texts
_MAX_CHAR_BYTES = 4


@dataclass(frozen=True, slots=True)
class CutLimits:
    """How large chunks are, and whose borders count."""

    tokens: int
    """Estimated tokens of a chunk at most."""
    overlap: int = 0
    """Estimated tokens that neighbours share at most; fewer than `tokens`."""
    markdown: bool = False
    """Whether borders are those of Markdown."""

    def size_of(self, text: str) -> int:
        """Return a text's tokens, or enough of them to be too large where its bytes are."""
        begin = text[: _CHARACTERS_PER_TOKEN * self.tokens]
        tokens = estimate_tokens(begin)
        if tokens > self.tokens or len(begin) == len(text) <= MAX_CHUNK_BYTES // _MAX_CHAR_BYTES:
            return tokens  # how much too large does not matter
        if len(text) > MAX_CHUNK_BYTES or len(text.encode()) > MAX_CHUNK_BYTES:
            return self.tokens + 1
        return estimate_tokens(text)


class Cutter(Protocol):
    """Cuts a text at natural borders."""

    def cut(self, text: str, limits: CutLimits) -> Sequence[tuple[int, str]]:
        """Return the chunks, without blanks around them, and at which character each begins."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A stretch of a text, not blank."""

    text: str
    span: TextSpan


def cut_chunks(blocks: Iterable[str], cutter: Cutter, limits: CutLimits) -> Iterator[TextChunk]:
    """Yield the chunks of a text that comes in blocks, holding no more than a few of those."""
    window = _Window()
    for block in blocks:
        window.append(block)
        if len(window.text) >= _LOOK_AHEAD:
            chunks = cutter.cut(window.text, limits)
            for start, text in chunks[:-1]:
                yield window.place(start, text)
            window.drop(chunks[-1][0] if chunks else len(window.text))
    for start, text in cutter.cut(window.text, limits):
        yield window.place(start, text)


class _Window:
    """The part of a text that is at hand, and where in the whole it begins."""

    def __init__(self) -> None:
        self.text = ""
        self._char = 0
        self._byte = 0
        self._known = (0, 0)
        """A character of the window, and its byte in the whole: starts only ever rise."""

    def append(self, block: str) -> None:
        """Add what follows."""
        self.text += block

    def place(self, start: int, text: str) -> TextChunk:
        """Return a chunk that begins at a character of the window."""
        first = self._byte_of(start)
        char = self._char + start
        return TextChunk(text, TextSpan(first, first + len(text.encode()), char, char + len(text)))

    def drop(self, start: int) -> None:
        """Forget what comes before a character of the window."""
        self._byte = self._byte_of(start)
        self._char += start
        self.text = self.text[start:]
        self._known = (0, self._byte)

    def _byte_of(self, start: int) -> int:
        known_char, known_byte = self._known
        byte = known_byte + len(self.text[known_char:start].encode())
        self._known = (start, byte)
        return byte
