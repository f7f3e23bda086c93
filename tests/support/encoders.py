"""Which encoders tests expect to be installed."""

from lookalike_encoder.catalogue import discover
from lookalike_encoder.manifest import Manifest


def default_set() -> list[Manifest]:
    """Return the manifests of what is installed unless somebody asks for more."""
    return [
        each
        for each in discover().manifests
        if not (each.install and (each.install.optional or each.install.consent))
    ]
