"""`lookalike-encoder models init`: its options, and what it says."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_common.errors import LookalikeError
from lookalike_common.service_cli import WrongSettingsError, read_settings
from lookalike_encoder.app import open_local_runtime
from lookalike_encoder.catalogue import discover
from lookalike_encoder.init.draft import Wishes, make_draft
from lookalike_encoder.init.folder import ExportFolder
from lookalike_encoder.init.placing import place
from lookalike_encoder.init.recipes import recipe_names
from lookalike_encoder.install.errors import InstallError, ModelFilesError
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.manifest import Manifest, ManifestError
from lookalike_encoder.settings import EncoderSettings

_NO_REFERENCE = """\
--reference is needed: vectors that the library you trained or chose the model with makes of at
least three contents. Ours would prove nothing. With sentence-transformers:

  import json, sentence_transformers
  texts = ["a cat sleeps", "the market fell sharply", "Wie spät ist es?"]
  vectors = sentence_transformers.SentenceTransformer("MODEL").encode(texts)
  json.dump({"cases": [{"text": t, "vector": v.tolist()} for t, v in zip(texts, vectors)]},
            open("reference.json", "w"))
"""


def run_init(argv: Sequence[str]) -> int:
    """Make an encoder of an export; 1 if that failed, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    if options.reference is None:
        return _complain(_NO_REFERENCE.rstrip(), 2)
    try:
        settings = read_settings(EncoderSettings)
    except WrongSettingsError as error:
        return _complain(str(error), 2)
    into = options.into or next(iter(settings.manifest_dirs), None)
    if into is None:
        return _complain("say with --into which folder of manifests it shall join", 2)
    try:
        manifest = _init(options, settings, into)
    except (InstallError, ModelFilesError, ManifestError, LookalikeError, OSError) as error:
        return _complain(str(error), 1)
    sys.stdout.write(
        f"{manifest.versioned_name}: makes the vectors of the reference; fingerprint "
        f"{manifest.fingerprint[:16]}\n"
        f"manifest: {manifest.folder / 'manifest.yaml'}\n"
        f"serve it with LOOKALIKE_ENCODER__MANIFEST_DIRS='[\"{into.resolve()}\"]'\n"
    )
    return 0


def _init(options: argparse.Namespace, settings: EncoderSettings, into: Path) -> Manifest:
    wishes = Wishes(
        name=options.name,
        version=options.version,
        space=options.space,
        recipe=options.recipe,
        model=options.model,
        modality=options.modality,
        pooling=options.pooling,
        license=options.license,
        max_tokens=options.max_tokens,
    )
    draft = make_draft(ExportFolder(options.folder), options.reference, wishes)
    known = list(settings.manifest_dirs)
    folders = known if into in known or not into.is_dir() else [*known, into]
    catalogue = discover(folders)
    store = ModelStore(settings.models_dir)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        runtime = open_local_runtime(settings.device, threads)
        loader = EncoderLoader(catalogue, store, runtime)
        return place(draft, into, catalogue, store, loader.prove)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lookalike-encoder models init",
        description="Make an encoder of a model exported to ONNX, proved by vectors of your own.",
    )
    parser.add_argument("folder", type=Path, help="the export; nothing outside it is read")
    parser.add_argument("--reference", type=Path, help="JSON file of contents and their vectors")
    parser.add_argument("--into", type=Path, help="folder of manifests (the first that is set)")
    parser.add_argument("--recipe", default="", help=f"one of {', '.join(recipe_names())}")
    parser.add_argument("--name", default="", help="of the encoder (that of the folder)")
    parser.add_argument("--version", default="1", help="of the encoder (1)")
    parser.add_argument("--space", default="", help="such as clip@1, the same for both towers")
    parser.add_argument("--model", default="", help="the .onnx file, where there are several")
    parser.add_argument("--modality", default="", choices=("text", "image"))
    parser.add_argument("--pooling", default="", choices=("none", "mean", "cls", "last"))
    parser.add_argument("--license", default="", help="of the model, where no file says it")
    parser.add_argument("--max-tokens", type=int, default=0, help="where no file says it")
    return parser


def _complain(line: str, code: int) -> int:
    sys.stderr.write(f"{line}\n")
    return code
