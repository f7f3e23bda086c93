"""Names and labels: what objects are called and how they find each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests, contains, matches, where

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME_LABEL = "app.kubernetes.io/name"


def object_names(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Names are DNS labels, and no two objects of a kind share one."""
    seen: set[str] = set()
    for document in manifests.documents:
        place = where(document)
        if not DNS_LABEL.fullmatch(document["metadata"]["name"]):
            yield place, "the name is no DNS label"
        if place in seen:
            yield place, "appears twice"
        seen.add(place)


def selectors(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """A workload selects its own pods, and only those."""
    for workload in manifests.workloads:
        selector = workload.spec.get("selector", {})
        if workload.document["kind"] != "Job":
            if not selector.get("matchLabels") or not matches(workload.labels, selector):
                yield workload.where, "its selector does not match its pods"
            for other in manifests.workloads:
                if other is not workload and matches(other.labels, selector):
                    yield workload.where, f"its selector also matches the pods of {other.where}"
        own = workload.document["metadata"].get("labels", {})
        if not contains(workload.labels, {NAME_LABEL: own.get(NAME_LABEL, workload.name)}):
            yield workload.where, f"it and its pods disagree about {NAME_LABEL}"


def service_links(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """No variables per Service in pods: their names collide with settings and age badly."""
    for workload in manifests.workloads:
        if workload.pod.get("enableServiceLinks") is not False:
            yield workload.where, "set enableServiceLinks to false"
