"""Pods come and go without a failed call."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.manifest_lint.manifests import Container, Manifests

SECONDS = re.compile(r"PT(\d+)S")


def grace_period(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """The preStop sleep and the drain end before the pod is killed.

    Containers that a Service leads to need the sleep: clients learn of the end while it lasts.
    """
    for container in manifests.containers:
        grace = container.workload.pod.get("terminationGracePeriodSeconds", 30)
        sleep = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        drain = _drain(manifests, container)
        if sleep.get("seconds", 0) + drain >= grace:
            yield container.where, f"preStop and drain together last {grace} s or more"
        if drain and not sleep:
            yield container.where, "drains without a preStop sleep"


def _drain(manifests: Manifests, container: Container) -> int:
    for name, value in manifests.environment(container).items():
        match = SECONDS.fullmatch(value)
        if name.endswith("__SERVER__DRAIN_GRACE") and match:
            return int(match[1])
    return 0


def rolling_updates(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """A rollout starts the new pod before it stops an old one."""
    for workload in manifests.workloads:
        if workload.document["kind"] != "Deployment":
            continue
        strategy = workload.spec.get("strategy", {}).get("rollingUpdate", {})
        if strategy.get("maxUnavailable") != 0:
            yield workload.where, "a rollout takes pods away before new ones are ready"
