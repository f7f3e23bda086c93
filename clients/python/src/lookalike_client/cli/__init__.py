"""The `lookalike` command."""

from lookalike_client.cli.app import main

__all__ = ["main"]
