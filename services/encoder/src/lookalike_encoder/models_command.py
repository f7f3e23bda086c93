"""`lookalike-encoder models`: which models there are, and putting them in place."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_common.errors import LookalikeError
from lookalike_common.service_cli import WrongSettingsError, read_settings
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import Catalogue, discover
from lookalike_encoder.init.command import run_init
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.packages import PackageFetcher
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.precision import Precision, wanted_variant
from lookalike_encoder.settings import EncoderSettings

_FAILURES = (InstallError, ModelFilesError, ManifestError, LookalikeError, OSError)
_NAMES_HELP = {
    "list": "name or name@version; none: all that are known",
    "install": "name or name@version; none: the default set",
    "verify": "name or name@version; none: all that are installed",
    "remove": "name or name@version",
}


def run_models(argv: Sequence[str]) -> int:
    """List, install, verify or remove models; 1 if any of them failed, 2 for wrong usage."""
    if argv[:1] == ["init"]:
        return run_init(list(argv[1:]))
    options = _parser().parse_args(argv)
    try:
        settings = read_settings(EncoderSettings)
        catalogue = discover(settings.manifest_dirs)
        store = ModelStore(settings.models_dir)
        chosen = _choose(options, catalogue, store)
    except (WrongSettingsError, ManifestError, LookalikeError) as error:
        return _complain(str(error), 2)
    if options.action == "list":
        return _list(store, chosen)
    with tempfile.TemporaryDirectory(prefix="lookalike-fetch-") as folder:
        return _act(options, settings, catalogue, chosen, Path(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lookalike-encoder models",
        epilog="`models init DIR` makes an encoder of a model of your own; see `init --help`.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for action, explanation in (
        ("list", "show which models are known, their licences, and which are installed"),
        ("install", "fetch, convert and check models; does nothing where they are whole"),
        ("verify", "check installed models: their files and their golden vectors"),
        ("remove", "delete installed models"),
    ):
        each = actions.add_parser(action, help=explanation, description=explanation)
        each.add_argument(
            "encoders", nargs="+" if action == "remove" else "*", help=_NAMES_HELP[action]
        )
        if action == "install":
            each.add_argument(
                "--all", action="store_true", help="the optional ones too, which are larger"
            )
            each.add_argument(
                "--accept-unlicensed",
                action="store_true",
                help="also those whose package states no licence, if they are named",
            )
            each.add_argument(
                "--variants",
                action="append",
                choices=[Precision.FP16.value],
                default=[],
                help="also half precision, of models that have it; where there is CUDA, always",
            )
    return parser


def _choose(options: argparse.Namespace, catalogue: Catalogue, store: ModelStore) -> list[Manifest]:
    """Return what a command is about: what is named, or what its action means without names.

    Raises NotFoundError.
    """
    if options.encoders:
        return [catalogue.find(name) for name in options.encoders]
    if options.action == "install":
        return [each for each in catalogue.manifests if _is_meant(each, all_=options.all)]
    if options.action == "verify":
        return [each for each in catalogue.manifests if store.is_present(each)]
    return list(catalogue.manifests)


def _is_meant(manifest: Manifest, *, all_: bool) -> bool:
    """Whether `install` takes a model that nobody named."""
    install = manifest.install
    return bool(install and not install.consent and (all_ or not install.optional))


def _act(
    options: argparse.Namespace,
    settings: EncoderSettings,
    catalogue: Catalogue,
    chosen: Sequence[Manifest],
    folder: Path,
) -> int:
    store = ModelStore(settings.models_dir)
    with ThreadPoolExecutor(2) as threads:
        runtime = open_local_runtime(settings.device, threads)
        installer = Installer(
            store,
            prove=EncoderLoader(catalogue, store, runtime).prove,
            report=_say,
            fetch=PackageFetcher(folder, show_progress=sys.stdout.isatty()),
            accept_unlicensed=getattr(options, "accept_unlicensed", False),
            variants=lambda manifest: {
                *getattr(options, "variants", ()),
                wanted_variant(manifest, settings.device.precision, runtime.device),
            },
        )
        actions: dict[str, Callable[[Manifest], object]] = {
            "install": installer.install,
            "verify": installer.verify,
            "remove": installer.remove,
        }
        return max([_attempt(actions[options.action], each) for each in chosen], default=0)


def _list(store: ModelStore, manifests: Sequence[Manifest]) -> int:
    _say(f"{'encoder':24} {'takes':12} {'licence':18} state")
    for manifest in manifests:
        takes = ", ".join(each.value for each in manifest.modalities)
        _say(
            f"{manifest.versioned_name:24} {takes:12} {manifest.license:18} "
            f"{_state(store, manifest)}"
        )
    return 0


def _state(store: ModelStore, manifest: Manifest) -> str:
    if not manifest.files:
        return "built in"
    try:
        files = store.check(manifest)
    except ModelFilesError as error:
        if store.is_present(manifest):
            return f"damaged: {error}"
        return f"not installed{_hint(manifest)}"
    size = sum(path.stat().st_size for path in files.values())
    variants = [each for each in manifest.variants if store.has_variant(manifest, each)]
    return ", ".join(["installed", f"{size / 1e6:.1f} MB", *variants])


def _hint(manifest: Manifest) -> str:
    """Say what a plain `install` would not do."""
    if manifest.install and manifest.install.consent:
        return " (needs --accept-unlicensed)"
    return " (optional)" if manifest.install and manifest.install.optional else ""


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
