"""Pod Security "restricted", a read-only root, and no token that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Container, Manifests, Workload

VOLUME_TYPES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
"""What the profile "restricted" allows, and image volumes."""


def restricted(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Pods pass the Pod Security profile "restricted"."""
    for workload in manifests.workloads:
        for message in _pod_problems(workload):
            yield workload.where, message
    for container in manifests.containers:
        for message in _container_problems(container):
            yield container.where, message


def _pod_problems(workload: Workload) -> Iterator[str]:
    pod = workload.pod
    for namespace in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(namespace):
            yield f"{namespace} is not restricted"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls are not restricted"
    for volume in pod.get("volumes", []):
        for kind in volume.keys() - VOLUME_TYPES - {"name"}:
            yield f"volume {volume['name']} has the forbidden type {kind}"


def _container_problems(container: Container) -> Iterator[str]:
    own, merged = container.own_security, container.security
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allows privilege escalation"
    if "ALL" not in capabilities.get("drop", []):
        yield "does not drop all capabilities"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if merged.get("runAsNonRoot") is not True or merged.get("runAsUser") == 0:
        yield "may run as root"
    if merged.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "has no seccomp profile"
    if any("hostPort" in port for port in container.spec.get("ports", [])):
        yield "opens a port of the node"


def read_only_root(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Nothing writes beside its volumes."""
    for container in manifests.containers:
        if container.own_security.get("readOnlyRootFilesystem") is not True:
            yield container.where, "its root file system is writable"


def service_accounts(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every workload has an account of its own, and no token in its pods."""
    users: dict[str, str] = {}
    for workload in manifests.workloads:
        account = workload.pod.get("serviceAccountName", "default")
        if account == "default":
            yield workload.where, "uses the default service account"
        elif account in users:
            yield workload.where, f"shares its service account with {users[account]}"
        users[account] = workload.where
        if workload.pod.get("automountServiceAccountToken") is not False:
            yield workload.where, "mounts a token of the API server"
