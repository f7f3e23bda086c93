"""Nucleotide sequences as frequencies of k-mers, the same for both strands.

Every stretch of k bases is counted together with its reverse complement. Counts are whole numbers
until the end, so a sequence and its reverse complement give the same vector to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_encoder.content import Item, Operation, SequenceContent, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise, wrong_modality
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.session import Runtime

Codes = NDArray[np.uint8]
"""uint8 [bases]: A 0, C 1, G 2, T and U 3; 4 where the letter stands for several bases."""
Counts = NDArray[np.int64]

_AMBIGUOUS, _BLANK, _FOREIGN = 4, 5, 6
_WINDOW = 1 << 20
"""Positions whose k-mers are counted at once: bounds memory, changes nothing."""


class DnaPreprocessing(BaseModel):
    """How a sequence becomes frequencies: over the whole of it; windows are cut by the caller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    k: int = Field(ge=1, le=8)
    """Bases of one k-mer."""


class DnaEncoder:
    """Frequencies of canonical k-mers: float32 [4^k / 2, and half of the palindromes more]."""

    prefetches = False
    operations = frozenset({Operation.ENCODE})
    labels = ()
    device = "cpu"

    def __init__(self, manifest: Manifest, _files: Mapping[str, Path], _runtime: Runtime) -> None:
        self.manifest = manifest
        self._k = DnaPreprocessing.model_validate(manifest.preprocessing).k
        self._columns = canonical_columns(self._k)
        made = int(self._columns.max()) + 1
        if manifest.dimensions != made:
            raise ManifestError(f"there are {made} canonical {self._k}-mers")

    def estimate(self, item: Item) -> int:
        """Count thousands of bases, roughly."""
        return 1 + item.content.size // 1024

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Count the k-mers of each sequence."""
        return [self._prepare_item(item) for item in items]

    def encode(self, rows: Sequence[Row]) -> list[Vectors]:
        """Make vectors of counts."""
        counts = np.stack([row.data for row in rows]).astype(np.float32)
        return list(normalise(counts, self.manifest.normalisation))

    def _prepare_item(self, item: Item) -> Prepared | LookalikeError:
        try:
            if not isinstance(item.content, SequenceContent):
                raise wrong_modality(self.manifest, item.content)
            if item.regions:
                raise InvalidArgumentError("only pictures have regions", field="regions")
            counts = self._count(self._read(item.content.sequence))
        except LookalikeError as error:
            return error
        return Prepared((Row(1, counts),))

    def _read(self, sequence: str) -> Codes:
        """Return the bases; raises InvalidContentError or LimitExceededError."""
        limits = self.manifest.limits
        if len(sequence) > limits.max_bytes:
            raise LimitExceededError(
                f"the sequence has {len(sequence)} characters with its header; at most "
                f"{limits.max_bytes} are allowed",
                field="content",
            )
        codes = read_bases(sequence)
        if len(codes) > limits.max_bases:
            raise LimitExceededError(
                f"the sequence has {len(codes)} bases; at most {limits.max_bases} are allowed",
                field="content",
            )
        return codes

    def _count(self, codes: Codes) -> Counts:
        """Count canonical k-mers: int64 [dimensions]; raises InvalidContentError if none is."""
        if len(codes) < self._k:
            raise InvalidContentError(
                f"the sequence has {len(codes)} bases; at least {self._k} are needed",
                field="content",
            )
        counts = np.zeros(4**self._k, np.int64)
        for start in range(0, len(codes) - self._k + 1, _WINDOW):
            counts += _count_kmers(codes[start : start + _WINDOW + self._k - 1], self._k)
        if not counts.any():
            raise InvalidContentError(
                f"the sequence has no {self._k} bases in a row that are known", field="content"
            )
        return np.bincount(self._columns, counts, self.manifest.dimensions).astype(np.int64)


def canonical_columns(k: int) -> NDArray[np.int64]:
    """Number k-mers so that each shares a column with its reverse complement: int64 [4^k].

    Columns are in the alphabetical order of the earlier of the two.
    """
    kmers = np.arange(4**k)
    mirrored = np.zeros_like(kmers)
    for position in range(k):
        base = (kmers >> 2 * position) & 3
        mirrored |= (3 - base) << 2 * (k - 1 - position)
    _, columns = np.unique(np.minimum(kmers, mirrored), return_inverse=True)
    return columns.astype(np.int64)


def read_bases(sequence: str) -> Codes:
    """Read IUPAC letters in either case, blanks between them, a FASTA header before them.

    Raises InvalidContentError for several records and for other characters.
    """
    text = sequence.lstrip()
    if text.startswith(">"):
        text = text.partition("\n")[2] if "\n" in text else text.partition("\r")[2]
    try:
        raw = np.frombuffer(text.encode("ascii"), np.uint8)
    except UnicodeEncodeError as error:
        raise InvalidContentError(
            "the sequence has characters other than IUPAC letters", field="content"
        ) from error
    codes = _CODES[raw]
    if (codes == _FOREIGN).any():
        raise _foreign(text, int(np.argmax(codes == _FOREIGN)))
    bases: Codes = codes[codes != _BLANK]
    return bases


def _foreign(text: str, place: int) -> InvalidContentError:
    if text[place] == ">":
        return InvalidContentError(
            "there are several records; send each as an item", field="content"
        )
    return InvalidContentError(
        f"the sequence has {text[place]!r}, which is no IUPAC letter of a base", field="content"
    )


def _count_kmers(codes: Codes, k: int) -> Counts:
    """Count k-mers without ambiguous bases: int64 [4^k]."""
    places = len(codes) - k + 1
    kmers = np.zeros(places, np.int64)
    known = np.ones(places, bool)
    for offset in range(k):
        part = codes[offset : offset + places]
        kmers = kmers << 2 | (part & 3)
        known &= part != _AMBIGUOUS
    return np.bincount(kmers[known], minlength=4**k)


def _make_codes() -> Codes:
    codes = np.full(256, _FOREIGN, np.uint8)
    for letters, code in (
        *zip(("A", "C", "G", "TU"), range(4), strict=True),
        ("RYSWKMBDHVN-.", _AMBIGUOUS),
        (" \t\r\n\v\f", _BLANK),
    ):
        for letter in letters + letters.lower():
            codes[ord(letter)] = code
    return codes


_CODES = _make_codes()
