"""`lookalike-encoder`: the server, its configuration, and its models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lookalike_common.errors import LookalikeError
from lookalike_common.service_cli import WrongSettingsError, read_settings, run_service
from lookalike_encoder.app import build, open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.init.command import run_init
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.settings import EncoderSettings

_FAILURES = (InstallError, ModelFilesError, ManifestError, LookalikeError, OSError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:2] == ["models", "init"]:
        return run_init(arguments[2:])
    if arguments[:1] == ["models"]:
        return _run_models(arguments[1:])
    return run_service("encoder", EncoderSettings, build, arguments)


def _run_models(argv: Sequence[str]) -> int:
    """List, install, verify or remove models; 1 if any of them failed, 2 for wrong usage."""
    options = _models_parser().parse_args(argv)
    try:
        settings = read_settings(EncoderSettings)
    except WrongSettingsError as error:
        return _complain(str(error), 2)
    try:
        catalogue = discover(settings.manifest_dirs)
        chosen = [catalogue.find(name) for name in options.encoders] or list(catalogue.manifests)
    except (ManifestError, LookalikeError) as error:
        return _complain(str(error), 2)
    store = ModelStore(settings.models_dir)
    if options.action == "list":
        return _list(store, chosen)
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(settings.device, threads)
        installer = Installer(
            store, prove=EncoderLoader(catalogue, store, runtime).prove, report=_say
        )
        actions: dict[str, Callable[[Manifest], object]] = {
            "install": installer.install,
            "verify": installer.verify,
            "remove": installer.remove,
        }
        return max([_attempt(actions[options.action], each) for each in chosen], default=0)


def _models_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lookalike-encoder models")
    actions = parser.add_subparsers(dest="action", required=True)
    for action, explanation in (
        ("list", "show which models are known and which are installed"),
        ("install", "fetch, convert and check models; does nothing where they are whole"),
        ("verify", "check installed models: their files and their golden vectors"),
        ("remove", "delete installed models"),
    ):
        each = actions.add_parser(action, help=explanation, description=explanation)
        each.add_argument(
            "encoders", nargs="+" if action == "remove" else "*", help="name or name@version"
        )
    return parser


def _list(store: ModelStore, manifests: Sequence[Manifest]) -> int:
    for manifest in manifests:
        try:
            store.check(manifest)
            state = "installed"
        except ModelFilesError as error:
            state = f"damaged: {error}" if store.is_present(manifest) else "not installed"
        _say(f"{manifest.versioned_name:24} {manifest.modality_names:10} {state}")
    return 0


def _attempt(action: Callable[[Manifest], object], manifest: Manifest) -> int:
    try:
        action(manifest)
    except _FAILURES as error:
        return _complain(f"{manifest.versioned_name}: {error}", 1)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _complain(line: str, code: int) -> int:
    sys.stderr.write(f"{line}\n")
    return code
