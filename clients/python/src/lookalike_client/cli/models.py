"""`lookalike models`: installs models, by handing over to the encoder's own command."""

import importlib.util
import subprocess
import sys
from typing import Annotated, Any

import typer

from lookalike_client.cli.exits import CommandError

# Any: click's settings have values of every type.
PASS_EVERYTHING: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
"""Options belong to the encoder's command, `--help` too."""


def models(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="list|install|verify|remove ...", show_default=False),
    ] = None,
) -> None:
    """List, install, verify or remove the models of an encoder on this machine."""
    require("lookalike_encoder")
    command = [sys.executable, "-m", "lookalike_encoder", "models", *(arguments or ["--help"])]
    ended = subprocess.run(command, check=False)  # noqa: S603 - our own program
    raise typer.Exit(ended.returncode)


def require(*packages: str) -> None:
    """Raise CommandError unless these services are installed beside this client."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"not installed here: {', '.join(missing)} - `pip install 'lookalike[all]'` brings it"
        )
