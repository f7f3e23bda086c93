"""`lookalike-search contract`: what the Milvus at a URI can do, as a table."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import uvloop
from pydantic import ValidationError

from lookalike_common.service_cli import WrongSettingsError, read_settings
from lookalike_search.app import examine_backend
from lookalike_search.conformance import FEATURES, Report
from lookalike_search.settings import MilvusSettings, SearchSettings

_UNREACHABLE = 3


def run_contract(argv: Sequence[str]) -> int:
    """Run the command; 0 if all is as known, 1 if not, 2 for wrong usage, 3 if Milvus is away."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    try:
        settings = _settings(arguments.uri)
    except WrongSettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    chosen = [each for each in FEATURES if not arguments.only or each.name in arguments.only]
    found = uvloop.run(examine_backend(settings, chosen))
    if found is None:
        sys.stderr.write(f"Milvus cannot be reached at {settings.uri}\n")
        return _UNREACHABLE
    backend, reports = found
    sys.stdout.write(format_table(backend, reports))
    return 0 if all(each.is_well for each in reports) else 1


def format_table(backend: str, reports: Sequence[Report]) -> str:
    """Return the table as text, failures with their reason."""
    width = max(len(each.feature.title) for each in reports)
    lines = [f"{backend}", ""]
    for each in reports:
        verdict = "works" if each.verdict == "works" else f"{each.verdict}: {each.detail}"
        if not each.is_well:
            verdict += f" (known: {each.wanted})"
        lines.append(f"{each.feature.title.ljust(width)}  {verdict}")
    wrong = sum(not each.is_well for each in reports)
    lines += ["", f"{len(reports)} features, {wrong} not as they should be", ""]
    return "\n".join(lines)


def _settings(uri: str | None) -> MilvusSettings:
    settings = read_settings(SearchSettings).milvus
    if uri is None:
        return settings
    try:
        return MilvusSettings.model_validate({**dict(settings), "uri": uri})
    except ValidationError as error:
        raise WrongSettingsError(f"--uri: {error.errors()[0]['msg']}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lookalike-search contract",
        description=(
            "Find out what a Milvus can do, by doing it on collections of its own, which are "
            "dropped afterwards. Token and the rest come from LOOKALIKE_SEARCH__MILVUS__…"
        ),
    )
    parser.add_argument("--uri", help="instead of LOOKALIKE_SEARCH__MILVUS__URI")
    parser.add_argument(
        "--only",
        action="append",
        choices=[each.name for each in FEATURES],
        metavar="FEATURE",
        help="only this one; can be given several times",
    )
    return parser
