"""Probes ask open ports, and the right question."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Container, JsonObject, Manifests

ALIVE = "lookalike.type.v1.ServerInfoService"
"""The one health service that says only that the process answers."""


def probe_ports(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every serving container has all three probes, on ports that it opens."""
    for container in manifests.containers:
        probes = dict(container.probes)
        serving = not container.is_init and container.workload.document["kind"] != "Job"
        for missing in {"startupProbe", "readinessProbe", "livenessProbe"} - set(probes):
            if serving:
                yield container.where, f"has no {missing}"
        for name, probe in probes.items():
            port = _port(probe)
            if port is not None and container.port_number(port) is None:
                yield container.where, f"{name} asks port {port}, which is not open"


def _port(probe: JsonObject) -> int | str | None:
    for kind in ("grpc", "httpGet", "tcpSocket"):
        if kind in probe:
            port: int | str = probe[kind]["port"]
            return port
    return None


def probe_services(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Probes over gRPC name a service; liveness and readiness ask different questions.

    A liveness probe that depends on models or on Milvus restarts pods that a restart cannot help.
    """
    for container in manifests.containers:
        for name, probe in container.probes:
            if "grpc" in probe and "service" not in probe["grpc"]:
                yield container.where, f"{name} names no health service (empty: all of them)"
        yield from _liveness(container)


def _liveness(container: Container) -> Iterator[tuple[str, str]]:
    probes = dict(container.probes)
    liveness, readiness = probes.get("livenessProbe", {}), probes.get("readinessProbe", {})
    if "grpc" in liveness and liveness["grpc"].get("service") != ALIVE:
        yield container.where, f"livenessProbe asks for more than {ALIVE}"
    if "httpGet" in liveness and liveness["httpGet"] == readiness.get("httpGet"):
        yield container.where, "livenessProbe and readinessProbe ask the same question"
