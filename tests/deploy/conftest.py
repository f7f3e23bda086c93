"""Rendered overlays, shared by the tests of manifests."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tools.manifest_lint import Manifests
from tools.render import OVERLAYS, render

INGEST_SECRETS = {
    "LOOKALIKE_INGEST__DATABASE_URL": "postgresql://me:secret@postgres/jobs",
    "LOOKALIKE_INGEST__STORES": '[{"prefix": "s3://photos/shared/", "region": "eu-central-1"}]',
}
DOCS = OVERLAYS.parent.parent.parent / "docs"


@pytest.fixture(scope="session")
def local() -> Manifests:
    return Manifests.parse(render(OVERLAYS / "local"))


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The overlay for a real cluster, as the deployment guide shows it."""
    kustomization, tokens, _ = _blocks()
    return _rendered(tmp_path_factory.mktemp("deploy"), kustomization, tokens)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The same with many ingest workers, as the guide says to change it."""
    kustomization, tokens, change = map(yaml.safe_load, _blocks())
    kustomization["components"] = change["components"]
    kustomization["secretGenerator"] += change["secretGenerator"]
    folder = tmp_path_factory.mktemp("shared")
    return _rendered(folder, yaml.safe_dump(kustomization), yaml.safe_dump(tokens))


def _blocks() -> list[str]:
    guide = (DOCS / "deployment.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)
    return blocks


def _rendered(home: Path, kustomization: str, tokens: str) -> Manifests:
    deploy = home / "k8s"
    shutil.copytree(OVERLAYS.parent, deploy)
    folder: Path = deploy / "overlays" / "documented"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(kustomization.replace("…", "0" * 64))
    (folder / "tokens.yaml").write_text(tokens)
    (folder / "token").write_text("at least sixteen characters")
    for name, value in INGEST_SECRETS.items():
        (folder / name).write_text(value)
    return Manifests.parse(render(folder))
