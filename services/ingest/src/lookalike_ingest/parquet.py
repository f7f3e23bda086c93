"""What is needed of a Parquet library: which rows there are, and rows batch by batch."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from lookalike_ingest.columns import Value


@dataclass(frozen=True, slots=True)
class ParquetFacts:
    """What a file's footer says."""

    columns: Sequence[str]
    """Top-level columns."""
    groups: Sequence[int]
    """Rows of each row group."""


class ParquetTables(Protocol):
    """Reads Parquet. Blocks; raises InvalidContentError for what is none, or is damaged."""

    def describe(self, file: BinaryIO) -> ParquetFacts:
        """Return what there is. Raises LimitExceededError for too many columns or bytes."""

    def read_group(
        self,
        file: BinaryIO,
        group: int,
        columns: Sequence[str] | None,
        vectors: Collection[str] = (),
    ) -> Iterator[Sequence[Mapping[str, Value]]]:
        """Yield the rows of a group in order, some at a time, with these columns or all.

        The columns in `vectors` come as bytes, little-endian float32, where they are lists of
        numbers; everything else comes as JSON.
        """
