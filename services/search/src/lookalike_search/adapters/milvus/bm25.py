"""BM25 with weights of our own, for a Milvus whose scores depend on how rows lie in its files.

Pure.

    score(query, text) = Σ over the query's words: rarity(word) · weight(word, text)

Both factors are sparse vectors by word, so the inner product is the score, wherever a row lies and
whenever it was written. The weight is stored with the row. It takes a usual length for the average
one, which every write would change. The rarity is worked out when a query comes.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

K1: Final = 1.2
"""How soon one more of the same word stops to count."""
B: Final = 0.75
"""How much long texts are discounted."""
USUAL_LENGTH: Final = 32
"""Words of a text that is neither discounted nor favoured."""

_WORD: Final = re.compile(r"\w+")
_NO_WORD: Final = 0
_MOST: Final = 2**32 - 2
"""Numbers for words: 2^32 - 1 is none that sparse vectors may use."""


def words_of(text: str) -> list[str]:
    """Return a text's words: letters, digits and _ in a row, in lower case."""
    return _WORD.findall(text.lower())


def weigh_text(text: str) -> dict[str, float]:
    """Return what each word of a text is worth, from 0 to `K1` + 1."""
    counts = Counter(words_of(text))
    discount = K1 * (1 - B + B * counts.total() / USUAL_LENGTH)
    return {word: count * (K1 + 1) / (count + discount) for word, count in counts.items()}


def rarity(texts_with_word: int, texts: int) -> float:
    """Return what a word of a query is worth: more than 0, and the more the rarer."""
    others = max(0, texts - texts_with_word)
    return math.log(1 + (others + 0.5) / (texts_with_word + 0.5))


@dataclass(frozen=True, slots=True)
class Packed:
    """What is looked up, in the form in which Milvus takes it."""

    data: bytes

    @property
    def nbytes(self) -> int:
        """What it adds to a request."""
        return len(self.data)


def pack_sparse(weights: Mapping[str, float]) -> Packed:
    """Return weights by word as Milvus takes sparse vectors: rising numbers with their weights.

    None may be empty, so without a word it has the number that no word has.
    """
    numbered: dict[int, float] = {} if weights else {_NO_WORD: 1.0}
    for word, weight in weights.items():
        number = word_number(word)
        numbered[number] = numbered.get(number, 0.0) + weight
    pairs: Iterable[float] = chain.from_iterable(sorted(numbered.items()))
    return Packed(struct.pack("<" + "If" * len(numbered), *pairs))


def word_number(word: str) -> int:
    """Return a word's number, from 1 to 2^32 - 2; two of 100,000 words may well have the same."""
    return 1 + zlib.crc32(word.encode()) % _MOST
