"""Images are pinned."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Manifests


def pinned_images(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every image has a tag other than `latest`, or a digest."""
    for container in manifests.containers:
        image = str(container.spec["image"])
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if not digest.startswith("sha256:") and tag in {"", "latest"}:
            yield container.where, f"the image {image} is not pinned"
