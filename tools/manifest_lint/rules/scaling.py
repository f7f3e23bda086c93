"""Autoscalers own the number of replicas."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests, where


def autoscaled_targets(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """The target of an autoscaler exists and sets no replicas: each apply would reset them."""
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for scaler in manifests.of_kind(kind):
            reference = scaler["spec"]["scaleTargetRef"]
            target = manifests.find(reference.get("kind", "Deployment"), reference["name"])
            if target is None:
                yield where(scaler), f"its target {reference['name']} does not exist"
            elif "replicas" in target["spec"]:
                yield where(scaler), f"its target {where(target)} sets replicas, too"
