"""Rendered overlays, shared by the tests of manifests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools.manifest_lint import Manifests
from tools.render import OVERLAYS, render

DOCS = OVERLAYS.parent.parent.parent / "docs"


@pytest.fixture(scope="session")
def local() -> Manifests:
    return Manifests.parse(render(OVERLAYS / "local"))


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The overlay for a real cluster, as the deployment guide shows it."""
    kustomization, tokens = re.findall(
        r"```yaml\n(.*?)```", (DOCS / "deployment.md").read_text(), flags=re.DOTALL
    )
    deploy = tmp_path_factory.mktemp("deploy") / "k8s"
    shutil.copytree(OVERLAYS.parent, deploy)
    folder: Path = deploy / "overlays" / "documented"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(kustomization.replace("…", "0" * 64))
    (folder / "tokens.yaml").write_text(tokens)
    (folder / "token").write_text("at least sixteen characters")
    return Manifests.parse(render(folder))
