"""What a container may use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests

QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?")


def quantities(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Amounts are quantities that Kubernetes reads, and no request is above its limit."""
    for container in manifests.containers:
        resources = container.spec.get("resources", {})
        for group in ("requests", "limits"):
            for name, amount in resources.get(group, {}).items():
                if not QUANTITY.fullmatch(str(amount)):
                    yield container.where, f"{group}.{name} is no quantity: {amount}"
    for workload in manifests.workloads:
        for name, volume in workload.volumes.items():
            claim = volume.get("persistentVolumeClaim", {}).get("resources", {})
            sizes = [(volume.get("emptyDir") or {}).get("sizeLimit")]
            sizes.append(claim.get("requests", {}).get("storage"))
            for amount in sizes:
                if amount is not None and not QUANTITY.fullmatch(str(amount)):
                    yield workload.where, f"the size of volume {name} is no quantity: {amount}"


def memory_is_limited(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every container asks for cpu and memory, and has a ceiling of memory."""
    for container in manifests.containers:
        resources = container.spec.get("resources", {})
        for group, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if name not in resources.get(group, {}):
                yield container.where, f"has no resources.{group}.{name}"


def tmp_is_bounded(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """With a read-only root, serving containers get a /tmp; every emptyDir has a limit."""
    for container in manifests.containers:
        mounted = {mount["mountPath"] for mount in container.spec.get("volumeMounts", [])}
        if not container.is_init and "/tmp" not in mounted:  # noqa: S108 - a path in the manifests
            yield container.where, "has no /tmp"
    for workload in manifests.workloads:
        for name, volume in workload.volumes.items():
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield workload.where, f"the emptyDir {name} has no sizeLimit"
