"""What callers can do with assets and uploads, free of any protocol."""

from collections.abc import AsyncGenerator

from lookalike_common.errors import LimitExceededError, NotFoundError, OutOfRangeError
from lookalike_ingest.asset_store import Asset, AssetStore, Upload
from lookalike_ingest.cascade import Cascade


class Assets:
    """Uploads, shows, reads and deletes assets."""

    def __init__(self, store: AssetStore, cascade: Cascade, *, max_bytes: int) -> None:
        self._store = store
        self._cascade = cascade
        self._max_bytes = max_bytes

    async def start_upload(self, tenant: str, sha256: str, size: int) -> Upload:
        """Begin an upload, or return the known one. Raises LimitExceededError."""
        if size > self._max_bytes:
            raise LimitExceededError(
                f"an asset may have {self._max_bytes} bytes at most", field="size_bytes"
            )
        return await self._store.start_upload(tenant, sha256, size)

    async def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> Upload:
        """Add bytes to an upload; see `AssetStore.append`."""
        return await self._store.append(tenant, upload_id, offset, data)

    async def flush(self, upload_id: str) -> None:
        """Make what was added survive a power cut."""
        await self._store.flush(upload_id)

    async def get_upload(self, tenant: str, upload_id: str) -> Upload:
        """Return an upload. Raises NotFoundError."""
        upload = await self._store.find_upload(tenant, upload_id)
        if upload is None:
            raise NotFoundError(
                "no such upload, or it expired; start it again",
                resource_type="lookalike/Upload",
                resource_name=f"uploads/{upload_id}",
            )
        return upload

    async def get(self, tenant: str, sha256: str) -> Asset:
        """Return what is known about an asset. Raises NotFoundError."""
        asset = await self._store.find(tenant, sha256)
        if asset is None:
            raise NotFoundError(
                "no such asset",
                resource_type="lookalike/Asset",
                resource_name=f"assets/{sha256}",
            )
        return asset

    def read(
        self, tenant: str, asset: Asset, offset: int, limit: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield an asset's bytes from `offset` on, `limit` at most (0: all), piece by piece.

        Raises OutOfRangeError at once when the asset ends before `offset`.
        """
        if offset > asset.size:
            raise OutOfRangeError(f"the asset has {asset.size} bytes", field="read_offset")
        length = min(limit or asset.size, asset.size - offset)
        return self._store.read(tenant, asset.sha256, offset, length)

    async def delete(self, tenant: str, sha256: str) -> None:
        """Remove an asset, and the entities made from it. Raises NotFoundError."""
        await self.get(tenant, sha256)
        deletion = await self._cascade.begin(tenant, sha256)
        await self._store.delete(tenant, sha256)
        await self._cascade.run(deletion)
