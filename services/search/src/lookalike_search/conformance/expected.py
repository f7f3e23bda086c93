"""What each backend is known to do; `docs/backends.md` shows it, tests prove it on real ones.

Servers from 2.4 on could not be run when this was written: what is said of them is derived from
their documentation, and from what Milvus Lite does with the same requests.
"""

from __future__ import annotations

import re
from typing import Final

from lookalike_search.conformance.feature import Verdict

LITE: Final = "milvus-lite"
OLDEST_SERVER: Final = "milvus-2.3"
NEWER_SERVERS: Final = "milvus-2.6"
"""Stands for all from 2.5 on. Verified on Lite only."""

_REFUSED: Final[dict[str, frozenset[str]]] = {
    LITE: frozenset(
        {
            *("index-ivf-pq", "index-scann", "index-diskann", "bits-ivf-flat"),
            *("sparse-vectors", "filter-substring"),
        }
    ),
    OLDEST_SERVER: frozenset(
        {
            *("several-vectors", "keyword", "hybrid", "partition-key"),
            "index-diskann",  # not in the build that tests run; others may have it
            *("sparse-vectors", "filter-substring"),
        }
    ),
    NEWER_SERVERS: frozenset({"sparse-vectors", "filter-substring"}),
}
"""For each backend the features that it refuses by name; it has all others."""


def expected(backend: str, feature: str) -> Verdict:
    """Return what a backend, such as `milvus-2.3`, does with a feature."""
    refused = feature in _REFUSED[_column(backend)]
    return Verdict.REFUSED if refused else Verdict.WORKS


def _column(backend: str) -> str:
    if backend == LITE:
        return LITE
    version = re.fullmatch(r"milvus-(\d+)\.(\d+)", backend)
    recent = version is not None and (int(version[1]), int(version[2])) >= (2, 5)
    return NEWER_SERVERS if recent else OLDEST_SERVER
