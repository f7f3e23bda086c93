"""Drained nodes and lost zones take few pods at once."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests, matches, where


def disruption_budgets(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every Deployment has a budget, which leaves a drained node a way out."""
    budgets = manifests.of_kind("PodDisruptionBudget")
    for budget in budgets:
        spec = budget["spec"]
        if not any(matches(w.labels, spec["selector"]) for w in manifests.workloads):
            yield where(budget), "selects no pods"
        if spec.get("maxUnavailable") in {None, 0, "0%"}:
            yield where(budget), "maxUnavailable must let one pod go"
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield where(budget), "a broken pod would block the drain of its node"
    for workload in manifests.workloads:
        if workload.document["kind"] == "Deployment" and not any(
            matches(workload.labels, budget["spec"]["selector"]) for budget in budgets
        ):
            yield workload.where, "has no PodDisruptionBudget"


def pods_are_spread(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """The pods of a Deployment spread over nodes, counting their own kind."""
    for workload in manifests.workloads:
        if workload.document["kind"] != "Deployment":
            continue
        constraints = workload.pod.get("topologySpreadConstraints", [])
        if not constraints:
            yield workload.where, "has no topologySpreadConstraints"
        for constraint in constraints:
            if not matches(workload.labels, constraint.get("labelSelector", {})):
                yield workload.where, "its topologySpreadConstraints count other pods"
