"""Network policies let through the calls that the configuration makes, seen from both ends.

The calls are read from the settings: a variable whose whole value is the address of a Service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.manifest_lint.manifests import Container, JsonObject, Manifests, Workload, matches

ADDRESS = re.compile(r"(?:dns:///|https?://)?(?P<host>[a-z][-a-z0-9]*):(?P<port>\d+)")
DNS_PORT = 53


@dataclass(frozen=True)
class Edge:
    """A call that a container is configured to make."""

    caller: Container
    variable: str
    service: str
    port: int


def edges(manifests: Manifests) -> Iterator[Edge]:
    """All calls between the workloads."""
    for container in manifests.containers:
        for variable, value in manifests.environment(container).items():
            match = ADDRESS.fullmatch(value)
            if match:
                yield Edge(container, variable, match["host"], int(match["port"]))


def targets_exist(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every address in the settings is a Service with that port."""
    for edge in edges(manifests):
        service = manifests.find("Service", edge.service)
        if service is None:
            yield edge.caller.where, f"{edge.variable}: there is no Service {edge.service}"
        elif edge.port not in [port["port"] for port in service["spec"]["ports"]]:
            yield edge.caller.where, f"{edge.variable}: {edge.service} has no port {edge.port}"


def policy_edges(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Each call is allowed to leave the caller, and to enter the callee."""
    for edge in edges(manifests):
        for target, port in _endpoints(manifests, edge):
            caller = edge.caller.workload
            call = f"{caller.name} → {target.name}:{port}"
            if not _allowed(manifests, "Egress", caller, target, (target, port)):
                yield caller.where, f"no NetworkPolicy lets {call} out"
            if not _allowed(manifests, "Ingress", target, caller, (target, port)):
                yield target.where, f"no NetworkPolicy lets {call} in"


def policy_dns(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Who calls a Service by name may ask the cluster's DNS."""
    callers = {edge.caller.workload.where for edge in edges(manifests)}
    for workload in manifests.workloads:
        if workload.where not in callers:
            continue
        isolating = policies_for(manifests, workload, "Egress")
        rules = [rule for policy in isolating for rule in policy["spec"].get("egress") or []]
        if isolating and not any(_lets_dns_out(rule) for rule in rules):
            yield workload.where, "its NetworkPolicies cut it off from DNS"


def _lets_dns_out(rule: JsonObject) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        port.get("port") == DNS_PORT and port.get("protocol") == "UDP" for port in ports
    )


def policies_for(manifests: Manifests, workload: Workload, direction: str) -> list[JsonObject]:
    """The policies that isolate a workload's pods in one direction (`Ingress`, `Egress`)."""
    return [
        policy
        for policy in manifests.of_kind("NetworkPolicy")
        if direction in policy["spec"].get("policyTypes", ["Ingress"])
        and matches(workload.labels, policy["spec"].get("podSelector", {}))
    ]


def _endpoints(manifests: Manifests, edge: Edge) -> Iterator[tuple[Workload, int]]:
    """The pods behind a Service's port, with the number of the port they open for it."""
    service = manifests.find("Service", edge.service)
    if service is None:
        return
    for port in service["spec"]["ports"]:
        if port["port"] != edge.port:
            continue
        for workload in manifests.selected_by(service):
            for container in workload.containers:
                number = container.port_number(port.get("targetPort", port["port"]))
                if number is not None:
                    yield workload, number


def _allowed(
    manifests: Manifests,
    direction: str,
    isolated: Workload,
    peer: Workload,
    endpoint: tuple[Workload, int],
) -> bool:
    isolating = policies_for(manifests, isolated, direction)
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    rules = [rule for policy in isolating for rule in policy["spec"].get(key) or []]
    return not isolating or any(
        _has_peer(manifests, rule.get(peers), peer) and _has_port(rule.get("ports"), *endpoint)
        for rule in rules
    )


def _has_peer(manifests: Manifests, peers: list[JsonObject] | None, workload: Workload) -> bool:
    return not peers or any(_is_peer(manifests, peer, workload) for peer in peers)


def _is_peer(manifests: Manifests, peer: JsonObject, workload: Workload) -> bool:
    if "ipBlock" in peer:  # pods have no address that a manifest could know
        return False
    in_namespace = "namespaceSelector" not in peer or matches(
        _namespace_labels(manifests, workload), peer["namespaceSelector"]
    )
    return in_namespace and matches(workload.labels, peer.get("podSelector", {}))


def _namespace_labels(manifests: Manifests, workload: Workload) -> Mapping[str, str]:
    name = workload.document["metadata"].get("namespace", "default")
    namespace = manifests.find("Namespace", name) or {"metadata": {}}
    return {**namespace["metadata"].get("labels", {}), "kubernetes.io/metadata.name": name}


def _has_port(ports: list[JsonObject] | None, target: Workload, number: int) -> bool:
    return not ports or any(
        port.get("protocol", "TCP") == "TCP" and _covers(port, target, number) for port in ports
    )


def _covers(port: JsonObject, target: Workload, number: int) -> bool:
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return any(container.ports.get(wanted) == number for container in target.containers)
    return bool(wanted <= number <= port.get("endPort", wanted))
