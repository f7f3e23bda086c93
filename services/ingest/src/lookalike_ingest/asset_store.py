"""What the service needs of the place where original bytes are kept.

Bytes are addressed by (tenant, SHA-256): the same bytes of two tenants are two assets, and nobody
reads across tenants by knowing a hash.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from lookalike_ingest.media_types import MediaType


@dataclass(frozen=True, slots=True)
class Asset:
    """Stored bytes."""

    sha256: str
    size: int
    media_type: MediaType
    created_at: datetime

    @property
    def name(self) -> str:
        """`assets/{asset}`."""
        return asset_name(self.sha256)


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes on their way."""

    id: str
    sha256: str
    """As announced."""
    size: int
    """As announced."""
    committed: int
    """Bytes that are kept."""
    complete: bool
    """Whether it became an asset."""
    expires_at: datetime

    @property
    def name(self) -> str:
        """`uploads/{upload}`."""
        return f"uploads/{self.id}"


class AssetStore(Protocol):
    """Assets and uploads. A full disk raises StorageFullError."""

    async def put(self, tenant: str, sha256: str, data: bytes) -> None:
        """Keep bytes whose hash is known; nothing happens when they are there."""

    async def put_file(self, tenant: str, sha256: str, opener: Callable[[], BinaryIO]) -> None:
        """Keep what `opener` opens, piece by piece; nothing happens when it is there.

        `opener` blocks, and is called in a thread. Raises HashMismatchError for other bytes.
        """

    async def find(self, tenant: str, sha256: str) -> Asset | None:
        """Return what is known about an asset, or None."""

    async def delete(self, tenant: str, sha256: str) -> bool:
        """Remove an asset; tell whether there was one."""

    def open(self, tenant: str, sha256: str) -> BinaryIO:
        """Open an asset for reading; blocks. Raises NotFoundError."""

    def read(
        self, tenant: str, sha256: str, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a stretch of an asset, piece by piece. Raises NotFoundError."""

    async def start_upload(self, tenant: str, sha256: str, size: int) -> Upload:
        """Begin an upload, or return the one that began with the same size and hash."""

    async def find_upload(self, tenant: str, upload_id: str) -> Upload | None:
        """Return an upload, or None when there is none or it expired."""

    async def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> Upload:
        """Add bytes at the end; the last ones make it an asset.

        Raises NotFoundError, OffsetMismatchError or HashMismatchError (too many bytes, or another
        hash, which empties the upload).
        """

    async def flush(self, upload_id: str) -> None:
        """Make what was appended survive a power cut."""

    async def delete_expired(self) -> int:
        """Forget uploads that were left; return how many."""


def asset_name(sha256: str) -> str:
    """Return `assets/{asset}`."""
    return f"assets/{sha256}"
