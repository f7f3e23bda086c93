"""Builds the images of the suite with buildah from `dist/`, on a base made from Debian packages.

For `make test-cluster` on machines that reach no image registry. Elsewhere the ordinary base image
does, as deploy/README.md shows. Needs root, and the Debian packages named below.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.mini_kubelet.podman import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
BASE = "localhost/lookalike-base:bookworm"
NAMES = ("encoder", "search", "ingest", "gateway", "milvus-lite", "models")
TAG = "dev"
PACKAGES = "podman buildah crun runc netavark aardvark-dns mmdebstrap uidmap iptables nftables"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""The machine's authorities: used while building, never part of an image."""


def build_images() -> None:
    """Build all images; layers that did not change are taken from the last build."""
    missing = [tool for tool in ("podman", "buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        sys.exit(
            f"needs root, and {', '.join(missing) or 'nothing else'}: apt-get install {PACKAGES}"
        )
    if _run("podman", "image", "exists", BASE, check=False).returncode:
        _make_base()
    for name in NAMES:
        _build(name)


def _make_base() -> None:
    """What `python:3.11-slim` would be: Debian 12 with Python 3.11 and pip."""
    archive = ROOT / ".lookalike" / "base.tar"
    archive.parent.mkdir(exist_ok=True)
    include = "ca-certificates,python3,python3-pip,python3-venv,python-is-python3"
    _run("mmdebstrap", "--variant=minbase", f"--include={include}", "bookworm", str(archive))
    _run("podman", "import", str(archive), BASE)
    archive.unlink()


def _build(name: str) -> None:
    _run(
        *("buildah", "bud", "--pull=never", "--layers", "--network=host", "--format=docker"),
        *("--build-arg", f"BASE_IMAGE={BASE}"),
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
        *("--file", str(ROOT / "deploy" / "docker" / f"{name}.Dockerfile")),
        *("--tag", f"localhost/lookalike/{name}:{TAG}", str(ROOT / "dist")),
    )


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(  # noqa: S603 - container tools with our own arguments
        command, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    if check and result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result


if __name__ == "__main__":
    build_images()
