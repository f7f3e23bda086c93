"""Puts a manifest together: what a recipe knows, what the export says, what the caller adds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_encoder.init.describe import Fields, describe_image, describe_text
from lookalike_encoder.init.folder import ExportFolder
from lookalike_encoder.init.recipes import load_recipe
from lookalike_encoder.init.reference import Reference, read_reference
from lookalike_encoder.install.errors import InstallError

_DEFAULTS: dict[str, Fields] = {
    "text": {
        "limits": {"max_items": 1024, "preferred_items": 64, "max_bytes": "1MiB"},
        "batching": {
            "cpu": {"max_rows": 16, "max_work": 512, "epoch_work": 2048},
            "cuda": {"max_rows": 256, "max_work": 16384, "epoch_work": 32768},
        },
    },
    "image": {
        "limits": {
            "max_items": 1024,
            "preferred_items": 32,
            "max_bytes": "32MiB",
            "max_pixels": 100_000_000,
        },
        "batching": {
            "cpu": {"max_rows": 2, "max_work": 2, "epoch_work": 8},
            "cuda": {"max_rows": 64, "max_work": 64, "epoch_work": 128},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller says about a model; empty where the recipe or the export says it."""

    name: str = ""
    version: str = "1"
    space: str = ""
    recipe: str = ""
    model: str = ""
    modality: str = ""
    pooling: str = ""
    license: str = ""
    max_tokens: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A manifest that nobody has proved yet, and what belongs to it."""

    manifest: dict[str, Any]  # what manifest.yaml is to say
    files: dict[str, Path]
    """The model's, in the export, by role."""
    reference: Reference


def make_draft(export: ExportFolder, reference_file: Path, wishes: Wishes) -> Draft:
    """Read an export and its reference; raises InstallError saying what is missing or wrong."""
    fields = load_recipe(wishes.recipe) if wishes.recipe else _describe(export, wishes)
    kind = str(fields["encoder"])
    if wishes.pooling:
        fields["pooling"] = wishes.pooling
    if "pooling" not in fields:
        raise InstallError("the export does not say how its output becomes one vector: --pooling")
    if wishes.max_tokens:
        fields["preprocessing"]["max_tokens"] = wishes.max_tokens
    if kind == "text":
        fields["limits"]["max_tokens"] = fields["preprocessing"]["max_tokens"]
    reference = read_reference(reference_file, kind)
    reference.check_tasks(fields["preprocessing"])
    _check_dimensions(fields, reference)
    name = wishes.name or _slug(wishes.recipe or export.folder.name)
    files = export.files(export.find_model(wishes.model), tokenizer=kind == "text")
    head = {
        "name": name,
        "version": wishes.version,
        "description": fields.get("description", f"{name}, brought by its users."),
        "space": wishes.space or f"{name}@{wishes.version}",
        "dimensions": reference.dimensions,
        "license": wishes.license or fields.get("license") or export.read_license(),
    }
    if not head["license"]:
        raise InstallError("no file names the model's licence; use --license")
    described = {role: _describe_file(path) for role, path in files.items()}
    return Draft({**fields, **head, "files": described}, files, reference)


def _describe(export: ExportFolder, wishes: Wishes) -> Fields:
    kind = wishes.modality or _guess_kind(export)
    found = describe_text(export, wishes.max_tokens) if kind == "text" else describe_image(export)
    fixed = {"encoder": kind, "modalities": [kind], "metric": "cosine", "normalisation": "l2"}
    defaults = {part: dict(values) for part, values in _DEFAULTS[kind].items()}
    return {**fixed, **defaults, **found}


def _guess_kind(export: ExportFolder) -> str:
    text = export.has("tokenizer.json")
    image = export.has("preprocessor_config.json")
    image |= "pretrained_cfg" in export.read_json("config.json")
    if text == image:
        what = "both texts and pictures" if text else "neither texts nor pictures"
        raise InstallError(f"by its files the export is of {what}; use --recipe or --modality")
    return "text" if text else "image"


def _check_dimensions(fields: Fields, reference: Reference) -> None:
    known = fields.get("dimensions", reference.dimensions)
    if known != reference.dimensions:
        raise InstallError(
            f"the vectors of the reference have {reference.dimensions} dimensions; the recipe's "
            f"model has {known}"
        )


def _describe_file(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {"path": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _slug(name: str) -> str:
    """Make a name of an encoder of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
