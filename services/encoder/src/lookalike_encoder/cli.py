"""`lookalike-encoder`: the server, its configuration, and its models."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lookalike_common.service_cli import run_service
from lookalike_encoder.app import build
from lookalike_encoder.models_command import run_models
from lookalike_encoder.settings import EncoderSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["models"]:
        return run_models(arguments[1:])
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write("models: see `lookalike-encoder models --help`\n")
    return run_service("encoder", EncoderSettings, build, arguments)
