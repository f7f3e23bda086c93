"""The rules, each a function from manifests to (where, what is wrong)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools.manifest_lint.manifests import Manifests
from tools.manifest_lint.rules import (
    configuration,
    containers,
    disruption,
    images,
    lifecycle,
    names,
    network,
    pod_security,
    probes,
    references,
    scaling,
    services,
)

Rule = Callable[[Manifests], Iterator[tuple[str, str]]]

RULES: tuple[Rule, ...] = (
    configuration.hashed_config_maps,
    configuration.secrets_as_files,
    configuration.insecure_behind_policies,
    containers.memory_is_limited,
    containers.quantities,
    containers.tmp_is_bounded,
    disruption.disruption_budgets,
    disruption.pods_are_spread,
    images.pinned_images,
    lifecycle.grace_period,
    lifecycle.rolling_updates,
    names.object_names,
    names.selectors,
    names.service_links,
    network.policy_dns,
    network.policy_edges,
    network.targets_exist,
    pod_security.restricted,
    pod_security.read_only_root,
    pod_security.service_accounts,
    probes.probe_ports,
    probes.probe_services,
    references.referenced_objects,
    references.volume_mounts,
    scaling.autoscaled_targets,
    services.headless_grpc,
    services.service_targets,
)
