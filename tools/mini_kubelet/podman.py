"""Calls podman, and turns a container of a pod template into its arguments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.manifest_lint.manifests import Container

ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf"))}
_UNITS = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}


def podman(*arguments: str) -> str:
    """Run podman and return what it printed; RuntimeError with its words when it fails."""
    result = subprocess.run(  # noqa: S603 - podman with arguments of our own making
        ["podman", *arguments],  # noqa: S607 - wherever the machine has it
        env=ENVIRONMENT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if arguments[0] == "logs" else subprocess.PIPE,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"podman {' '.join(arguments)}: {result.stderr}")
    return result.stdout.strip()


def identity_arguments(container: Container) -> Iterator[str]:
    """User, privileges, root file system and memory, as the security contexts say."""
    context = container.security
    yield from ("--user", f"{context['runAsUser']}:{context['runAsGroup']}")
    if "fsGroup" in context:
        yield from ("--group-add", str(context["fsGroup"]))
    for capability in context["capabilities"]["drop"]:
        yield from ("--cap-drop", capability)
    yield from ("--security-opt", "no-new-privileges", "--read-only", "--read-only-tmpfs=false")
    yield from ("--memory", str(in_bytes(container.spec["resources"]["limits"]["memory"])))


def mount_arguments(container: Container, folders: Mapping[str, Path]) -> Iterator[str]:
    """Bind its volumes, which are folders of this machine."""
    for mount in container.spec.get("volumeMounts", []):
        mode = "ro" if mount.get("readOnly") else "rw"
        yield from ("--volume", f"{folders[mount['name']]}:{mount['mountPath']}:{mode}")


def in_bytes(quantity: str) -> int:
    """Read an amount of memory such as `64Mi`."""
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]
