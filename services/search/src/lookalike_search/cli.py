"""`lookalike-search`: the server, its configuration, and what a Milvus can do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from lookalike_common.service_cli import run_service
from lookalike_search.app import build
from lookalike_search.contract_command import run_contract
from lookalike_search.settings import SearchSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["contract"]:
        return run_contract(arguments[1:])
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write("contract: see `lookalike-search contract --help`\n")
    # What is imported stays; looking at it in each collection takes half of the time that answers
    # of ten thousand hits take (docs/performance.md).
    gc.freeze()
    return run_service("search", SearchSettings, build, arguments)
