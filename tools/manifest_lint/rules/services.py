"""Services lead to open ports, and gRPC ones to every pod."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests, where


def service_targets(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """A Service selects pods, and each of its ports is one that those pods open."""
    for service in manifests.of_kind("Service"):
        workloads = manifests.selected_by(service)
        if not workloads:
            yield where(service), "selects no pods"
        for port in service["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            for workload in workloads:
                if all(c.port_number(target) is None for c in workload.containers):
                    yield where(service), f"port {target} is not open in {workload.where}"


def headless_grpc(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """A Service for gRPC is headless and says h2c, so that clients balance over all pods."""
    for service in manifests.of_kind("Service"):
        for port in service["spec"].get("ports", []):
            if port.get("name") != "grpc":
                continue
            if service["spec"].get("clusterIP") != "None":
                yield where(service), "gRPC behind a cluster address sticks to one pod: headless"
            if port.get("appProtocol") != "kubernetes.io/h2c":
                yield where(service), "its gRPC port needs appProtocol kubernetes.io/h2c"
