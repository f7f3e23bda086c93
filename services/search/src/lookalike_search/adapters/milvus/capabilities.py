"""What kind of Milvus this is, from what it says about its version. The only place that asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lookalike_search.model import IndexType, Metric, VectorFieldSpec, VectorKind
from lookalike_search.store import Capabilities

_LITE: Final = re.compile(r"milvus[_-]lite-(.+)")
_SERVER: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.\d+)?.*")
_MAX_WINDOW: Final = 16_384
_ANALYZERS: Final = frozenset({"standard", "english", "chinese"})
_FLUSH_ROWS: Final = 256
_FLUSH_IDLE: Final = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How this Milvus wants to be treated; known to this adapter alone."""

    capabilities: Capabilities
    automatic_index: IndexType
    """What a field of dense vectors is indexed with that leaves it to us."""
    native_bits: bool
    """Whether there is BINARY_VECTOR; bits are floats of 0 and 1 where not."""
    compares_squares_apart: bool
    """Whether an exact search by Euclid takes queries x rows x dimensions of memory."""
    patient: bool
    """Whether a search costs much the same with any number of vectors, so that waiting for more
    pays; measured in `docs/performance.md`."""
    native_words: bool
    """Whether its own BM25 ranks well; words are weighed by us where not: see `word_columns`."""
    flush_rows: int | None
    """Unflushed rows that make reads slow; None where the server looks after that itself."""
    flush_idle: timedelta = _FLUSH_IDLE
    """Pause in writing after which fewer rows are flushed too."""

    def searches_alone(self, field: VectorFieldSpec) -> bool:
        """Whether searches of a vector field are better not put into one request."""
        exact = field.index.type in {IndexType.AUTO, IndexType.FLAT}
        return self.compares_squares_apart and exact and field.metric is Metric.EUCLIDEAN


def _left_out(version: str) -> set[IndexType]:
    """Return what a server was built without: the one in PyPI's wheel says so by its version."""
    return {IndexType.DISKANN} if version.endswith("-lite") else set()


def dialect_of(version: str) -> Dialect:
    """Return the dialect for a server's version text."""
    lite = _LITE.fullmatch(version)
    if lite is not None:
        return Dialect(
            capabilities=Capabilities(
                backend="milvus-lite",
                version=lite[1],
                vector_kinds=frozenset({VectorKind.DENSE, VectorKind.BINARY}),
                index_types=frozenset(
                    {IndexType.FLAT, IndexType.HNSW, IndexType.IVF_FLAT, IndexType.IVF_SQ8}
                ),
                # Others would not look at all of the window that proves a ranking of bits.
                bit_index_types=frozenset({IndexType.FLAT}),
                max_vector_fields=8,
                analyzers=frozenset({"standard"}),
                partition_key=True,
                max_window=_MAX_WINDOW,
            ),
            # Lite looks at every row whatever the index: exact search is its fastest as well.
            automatic_index=IndexType.FLAT,
            native_bits=False,
            compares_squares_apart=True,
            patient=True,
            native_words=False,
            flush_rows=_FLUSH_ROWS,
        )
    server = _SERVER.fullmatch(version)
    version_pair = major, minor = (int(server[1]), int(server[2])) if server else (0, 0)
    return Dialect(
        capabilities=Capabilities(
            backend=f"milvus-{major}.{minor}",
            version=version,
            vector_kinds=frozenset({VectorKind.DENSE, VectorKind.BINARY}),
            index_types=frozenset(IndexType) - ({IndexType.AUTO} | _left_out(version)),
            bit_index_types=frozenset({IndexType.FLAT, IndexType.IVF_FLAT}),
            max_vector_fields=1 if version_pair < (2, 4) else 4,
            # Verified on Lite only: no server of 2.5 or later was at hand.
            analyzers=_ANALYZERS if version_pair >= (2, 5) else frozenset(),
            # 2.3 upserts into a partition of its own choice, where no filter finds it; verified on
            # Lite only.
            partition_key=(major, minor) >= (2, 4),
            max_window=_MAX_WINDOW,
        ),
        automatic_index=IndexType.HNSW,
        native_bits=True,
        compares_squares_apart=False,
        patient=False,
        native_words=True,
        flush_rows=None,
    )
