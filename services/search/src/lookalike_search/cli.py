"""`lookalike-search`: the server and its configuration."""

from __future__ import annotations

import gc
from collections.abc import Sequence

from lookalike_common.service_cli import run_service
from lookalike_search.app import build
from lookalike_search.settings import SearchSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    # What is imported stays; looking at it in each collection takes half of the time that answers
    # of ten thousand hits take (docs/performance.md).
    gc.freeze()
    return run_service("search", SearchSettings, build, argv)
