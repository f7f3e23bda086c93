"""Renders an overlay of deploy/k8s, as `kubectl apply --kustomize` would see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.fetch_kubectl import kubectl

OVERLAYS = Path(__file__).resolve().parent.parent / "deploy" / "k8s" / "overlays"


def render(overlay: Path) -> str:
    """Return the YAML of an overlay's folder; CalledProcessError when it does not render."""
    return subprocess.run(  # noqa: S603 - kubectl, pinned, on our own files
        [kubectl(), "kustomize", overlay], check=True, capture_output=True, text=True
    ).stdout
