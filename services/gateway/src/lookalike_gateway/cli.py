"""The `lookalike-gateway` command."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike_common.service_cli import run_service
from lookalike_gateway.app import build
from lookalike_gateway.settings import GatewaySettings


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or print the effective configuration; return the exit code."""
    return run_service("gateway", GatewaySettings, build, argv)
