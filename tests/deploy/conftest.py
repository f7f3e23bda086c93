"""Rendered overlays, shared by the tests of manifests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.fetch_kubectl import kubectl
from tools.manifest_lint import Manifests

ROOT = Path(__file__).resolve().parent.parent.parent


def render(overlay: str) -> str:
    return subprocess.run(
        [kubectl(), "kustomize", ROOT / "deploy" / "k8s" / "overlays" / overlay],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="session")
def local_yaml() -> str:
    return render("local")


@pytest.fixture(scope="session")
def local(local_yaml: str) -> Manifests:
    return Manifests.parse(local_yaml)
