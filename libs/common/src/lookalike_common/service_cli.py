"""The command line that all services have: `serve` (the default) and `config`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from lookalike_common.logs import set_up_logging
from lookalike_common.settings import ServiceSettings, redacted
from lookalike_common.telemetry import tracing

_logger = logging.getLogger(__name__)


class Runnable(Protocol):
    """What a service's `build` yields, a `GrpcServer` for example."""

    async def run(self) -> None:
        """Serve until asked to stop, then drain."""


class WrongSettingsError(Exception):
    """The environment holds settings that are not valid; the message has a line for each."""


Settings = TypeVar("Settings", bound=ServiceSettings)
Build = Callable[[Settings], AbstractAsyncContextManager[Runnable]]


def run_service(
    name: str,
    settings_type: type[Settings],
    build: Build[Settings],
    argv: Sequence[str] | None = None,
) -> int:
    """Run the command line of service `name` (`encoder`); return the exit code.

    0 after a graceful stop, 1 if it could not start or run, 2 for wrong usage or settings.
    """
    command = _parser(name).parse_args(argv).command
    try:
        settings = read_settings(settings_type)
    except WrongSettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if command == "config":
        sys.stdout.write(json.dumps(redacted(settings), indent=2, ensure_ascii=False) + "\n")
        return 0
    set_up_logging(settings.telemetry, name)
    try:
        with tracing(settings.telemetry, name):
            uvloop.run(_serve(settings, build))
    except KeyboardInterrupt:
        return 130
    except Exception:
        _logger.exception("lookalike-%s ends", name)
        return 1
    return 0


def read_settings(settings_type: type[Settings]) -> Settings:
    """Return the settings that the environment gives. Raises WrongSettingsError."""
    try:
        return settings_type()
    except ValidationError as error:
        lines = _explain(error)
    except SettingsError as error:  # the text of a list or a group is no JSON
        lines = [str(error).split('"')[1].upper() + ': must be JSON; a list is ["one", "two"]']
    prefix = settings_type.model_config.get("env_prefix", "")
    raise WrongSettingsError("\n".join(["wrong settings:", *(prefix + line for line in lines)]))


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"lookalike-{name}")
    parser.add_argument(
        "command",
        nargs="?",
        default="serve",
        choices=("serve", "config"),
        help="serve (default), or print the effective configuration without secrets",
    )
    return parser


async def _serve(settings: Settings, build: Build[Settings]) -> None:
    async with build(settings) as service:
        await service.run()


def _explain(error: ValidationError) -> list[str]:
    """Return one line per wrong setting, by the name of its variable, without its value."""
    known = {"extra_forbidden": "there is no such setting; `config` prints all"}
    return [
        f"{'__'.join(map(str, each['loc'])).upper()}: {known.get(each['type'], each['msg'])}"
        for each in error.errors(include_input=False, include_url=False)
    ]
