"""A linter of rendered Kubernetes manifests: what JSON schemas cannot see.

Schemas check each object alone. What breaks a deployment lies between objects: a selector that
matches nothing, a probe on a port nobody opens, a policy that cuts a call the code makes.
"""

from tools.manifest_lint.linting import Finding, lint
from tools.manifest_lint.manifests import Manifests

__all__ = ["Finding", "Manifests", "lint"]
