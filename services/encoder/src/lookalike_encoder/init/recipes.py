"""Manifests of well-known models without their files: `recipes/<name>.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lookalike_encoder.install.errors import InstallError

_FOLDER = Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_recipe(name: str) -> dict[str, Any]:  # part of a manifest, which is checked when whole
    """Return the fields of a manifest that a recipe knows; raises InstallError."""
    if name not in recipe_names():
        raise InstallError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}")
    content: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return content
