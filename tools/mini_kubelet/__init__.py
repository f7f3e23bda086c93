"""Runs the pods of a rendered overlay with podman on one machine, to see them work for real.

It honours what it can and refuses what it cannot (`honoured`), so that nothing passes unseen:
images as they are, users, read-only roots, volumes, limits, names in DNS, init containers, the
three probes, preStop and the grace period. There is no scheduler, no controller and no
NetworkPolicy: docs/deployment.md says what therefore stays unverified.
"""

from tools.mini_kubelet.cluster import Cluster, Pod

__all__ = ["Cluster", "Pod"]
