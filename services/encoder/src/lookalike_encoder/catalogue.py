"""Which encoders there are: manifests, and the code that knows their kind.

Distributions announce kinds of encoders by the entry point group `lookalike.encoders`; a folder
`models` in the same package holds manifests. Ours are found in the same way as anybody's. A model
of a known kind needs no code: a folder with its manifest is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from lookalike_common.errors import NotFoundError
from lookalike_encoder.encoder import Factory
from lookalike_encoder.manifest import (
    Manifest,
    ManifestError,
    load_manifests,
    version_key,
)

_GROUP = "lookalike.encoders"
_RESOURCE_TYPE = "lookalike/Encoder"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All known encoders."""

    manifests: tuple[Manifest, ...]
    """By name and version."""
    kinds: dict[str, EntryPoint]
    """The code by kind; loaded when it is needed."""

    def find(self, name: str) -> Manifest:
        """Return the manifest of `name` (the newest version) or `name@version`.

        Raises NotFoundError.
        """
        wanted, _, version = name.partition("@")
        found = [
            each for each in self.manifests if each.name == wanted and version in {"", each.version}
        ]
        if not found:
            raise NotFoundError(
                f"there is no encoder encoders/{name}",
                resource_type=_RESOURCE_TYPE,
                resource_name=f"encoders/{name}",
            )
        return max(found, key=version_key)

    def factory(self, manifest: Manifest) -> Factory:
        """Load the code for a manifest's kind; raises ManifestError."""
        try:
            loaded: Factory = self.kinds[manifest.encoder].load()
        except KeyError:
            known = ", ".join(sorted(self.kinds)) or "none"
            raise ManifestError(
                f"encoders/{manifest.versioned_name} is of the kind {manifest.encoder!r}; known "
                f"are {known}"
            ) from None
        return loaded


def discover(folders: Sequence[Path] = ()) -> Catalogue:
    """Read all manifests: of installed distributions, and of further folders."""
    kinds = {point.name: point for point in entry_points(group=_GROUP)}
    packages = {_models_folder(point) for point in kinds.values()}
    found: dict[str, Manifest] = {}
    for manifest in _read(*sorted(packages), *folders):
        if manifest.versioned_name in found:
            raise ManifestError(f"there are two manifests of {manifest.versioned_name}")
        found[manifest.versioned_name] = manifest
    return Catalogue(tuple(sorted(found.values(), key=version_key)), kinds)


def _read(*folders: Path) -> Iterable[Manifest]:
    for folder in folders:
        yield from load_manifests(folder)


def _models_folder(point: EntryPoint) -> Path:
    """Return the folder `models` beside the code of an entry point, without importing it."""
    package = point.module.partition(".")[0]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ManifestError(f"the entry point {point.name} names {package}, which is not installed")
    return Path(spec.origin).parent / "models"
