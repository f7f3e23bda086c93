"""Runs every rule over one set of manifests."""

from __future__ import annotations

from dataclasses import dataclass

from tools.manifest_lint.manifests import Manifests
from tools.manifest_lint.rules import RULES


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong."""

    rule: str
    where: str
    """`Kind/name`, with `:container` where it is about one."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"


def lint(manifests: Manifests) -> list[Finding]:
    """Return what the rules find, sorted."""
    return sorted(
        Finding(rule.__name__, where, message)
        for rule in RULES
        for where, message in rule(manifests)
    )
