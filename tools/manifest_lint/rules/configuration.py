"""Configuration that reaches pods when it changes, and secrets that stay out of sight."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.manifest_lint.manifests import Container, Manifests
from tools.manifest_lint.rules.network import policies_for

HASHED = re.compile(r".*-[a-z0-9]{10}")


def hashed_config_maps(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Config maps carry a hash of their content, so that a change rolls the pods."""
    for container in manifests.containers:
        for name in _config_maps(container):
            if not HASHED.fullmatch(name):
                yield container.where, f"a change of ConfigMap {name} would not reach its pods"


def _config_maps(container: Container) -> set[str]:
    from_all = container.spec.get("envFrom", [])
    from_key = [each.get("valueFrom", {}) for each in container.spec.get("env", [])]
    volumes = container.workload.pod.get("volumes", [])
    return {
        *(each["configMapRef"]["name"] for each in from_all if "configMapRef" in each),
        *(each["configMapKeyRef"]["name"] for each in from_key if "configMapKeyRef" in each),
        *(each["configMap"]["name"] for each in volumes if "configMap" in each),
    }


def secrets_as_files(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Secrets are mounted: variables show up in process lists, crash reports and children."""
    for container in manifests.containers:
        by_variable = any(
            "secretKeyRef" in variable.get("valueFrom", {})
            for variable in container.spec.get("env", [])
        ) or any("secretRef" in source for source in container.spec.get("envFrom", []))
        if by_variable:
            yield container.where, "takes a secret from a variable"


def insecure_behind_policies(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """A service that asks nobody for a token is closed off by a NetworkPolicy."""
    for container in manifests.containers:
        insecure = any(
            name.endswith("__SERVER__INSECURE") and value.lower() in {"1", "true"}
            for name, value in manifests.environment(container).items()
        )
        if insecure and not policies_for(manifests, container.workload, "Ingress"):
            yield container.where, "is insecure, and no NetworkPolicy says who may call"
