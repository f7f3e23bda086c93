"""Containers over a temporary folder, as the service puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lookalike_common.errors import NotFoundError
from lookalike_ingest.adapters.zstd import unzstd
from lookalike_ingest.sources.containers import ContainerLimits, Containers
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.remote import Remotes
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.sources.zip_directory import ArchiveLimits


@contextmanager
def containers_in(
    folder: Path,
    *,
    archives: ArchiveLimits | None = None,
    memory_bytes: int = 4 << 20,
    cache_bytes: int = 1 << 30,
    remotes: Remotes | None = None,
) -> Iterator[Containers]:
    """Yield containers that may read `folder`; assets are files in it called by their hash."""

    def open_asset(_tenant: str, sha256: str) -> BinaryIO:
        try:
            return (folder / sha256).open("rb")
        except FileNotFoundError as error:
            raise NotFoundError("no such asset") from error

    cache = LocalCache(folder / ".cache", cache_bytes)
    limits = ContainerLimits(archives or ArchiveLimits(), memory_bytes)
    containers = Containers(
        Roots([folder]),
        open_asset,
        unzstd,
        cache=cache,
        remotes=remotes or Remotes({}),
        limits=limits,
    )
    try:
        yield containers
    finally:
        containers.close()
        cache.close()
