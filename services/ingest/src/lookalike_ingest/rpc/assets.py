"""`lookalike.asset.v1.AssetService`."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty

from lookalike.asset.v1 import asset_pb2
from lookalike.asset.v1 import asset_service_pb2 as pb
from lookalike_common.context import current_context
from lookalike_common.errors import InvalidArgumentError
from lookalike_common.ids import parse_name
from lookalike_ingest.assets import Assets
from lookalike_ingest.convert.assets import to_asset, to_upload

SERVICE = "lookalike.asset.v1.AssetService"


class AssetServicer:
    """Answers from `Assets`."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    async def StartUpload(  # noqa: N802 - the name of the rpc
        self, request: pb.StartUploadRequest, _context: object
    ) -> asset_pb2.Upload:
        """Begin an upload, or find that nothing needs to be sent."""
        tenant = current_context().tenant
        return to_upload(
            await self._assets.start_upload(tenant, request.sha256, request.size_bytes)
        )

    async def UploadChunk(  # noqa: N802 - the name of the rpc
        self, requests: AsyncIterator[pb.UploadChunkRequest], _context: object
    ) -> asset_pb2.Upload:
        """Take bytes in order; what arrived is kept also when the stream breaks."""
        tenant = current_context().tenant
        upload_id = ""
        try:
            async for request in requests:
                upload_id = upload_id or _upload_id(request.upload, "upload")
                await self._assets.append(tenant, upload_id, request.write_offset, request.data)
        finally:
            if upload_id:
                await self._assets.flush(upload_id)
        if not upload_id:
            raise InvalidArgumentError("the first message must name it", field="upload")
        return to_upload(await self._assets.get_upload(tenant, upload_id))

    async def GetUpload(  # noqa: N802 - the name of the rpc
        self, request: pb.GetUploadRequest, _context: object
    ) -> asset_pb2.Upload:
        """Tell how much of an upload is kept."""
        upload_id = _upload_id(request.name, "name")
        return to_upload(await self._assets.get_upload(current_context().tenant, upload_id))

    async def GetAsset(  # noqa: N802 - the name of the rpc
        self, request: pb.GetAssetRequest, _context: object
    ) -> asset_pb2.Asset:
        """Show what is known about an asset."""
        return to_asset(await self._assets.get(*_own(request.name)))

    async def ReadAsset(  # noqa: N802 - the name of the rpc
        self, request: pb.ReadAssetRequest, _context: object
    ) -> AsyncIterator[pb.ReadAssetResponse]:
        """Send an asset, or a range of it."""
        tenant, sha256 = _own(request.name)
        asset = await self._assets.get(tenant, sha256)
        pieces = self._assets.read(tenant, asset, request.read_offset, request.read_limit)
        async with aclosing(pieces):  # a caller that leaves ends it as well
            yield pb.ReadAssetResponse(asset=to_asset(asset))
            async for piece in pieces:
                yield pb.ReadAssetResponse(data=piece)

    async def DeleteAsset(  # noqa: N802 - the name of the rpc
        self, request: pb.DeleteAssetRequest, _context: object
    ) -> Empty:
        """Remove an asset's bytes."""
        await self._assets.delete(*_own(request.name))
        return Empty()


def _own(name: str) -> tuple[str, str]:
    """Return the caller's tenant, and the hash in an asset's name."""
    return current_context().tenant, parse_name(name, "assets")[0]


def _upload_id(name: str, field: str) -> str:
    return parse_name(name, "uploads", field=field)[0]
