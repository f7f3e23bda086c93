"""The asset service over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from datetime import timedelta
from typing import Final

import grpc
import grpc.aio

from lookalike.asset.v1 import asset_service_pb2, asset_service_pb2_grpc
from lookalike.type.v1 import content_pb2
from lookalike_common.errors import LimitExceededError, LookalikeError
from lookalike_common.status import error_from_rpc
from lookalike_search.encoding import ContentKind

_KINDS: Final[Mapping[int, ContentKind]] = {
    content_pb2.MODALITY_TEXT: ContentKind.TEXT,
    content_pb2.MODALITY_IMAGE: ContentKind.IMAGE,
    content_pb2.MODALITY_AUDIO: ContentKind.AUDIO,
    content_pb2.MODALITY_MOLECULE: ContentKind.SMILES,
    content_pb2.MODALITY_SEQUENCE: ContentKind.SEQUENCE,
}


class AssetClient:
    """An `AssetPort` on a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, limit: timedelta, max_bytes: int) -> None:
        self._stub = asset_service_pb2_grpc.AssetServiceStub(channel)
        self._limit = limit.total_seconds()
        self._max_bytes = max_bytes

    async def read(self, name: str) -> tuple[ContentKind | None, bytes, str]:
        """See `AssetPort`."""
        request = asset_service_pb2.ReadAssetRequest(name=name)
        try:
            return await self._collect(self._stub.ReadAsset(request, timeout=self._limit))
        except grpc.RpcError as error:
            raise _without_field(error_from_rpc(error)) from error

    async def _collect(
        self, replies: AsyncIterable[asset_service_pb2.ReadAssetResponse]
    ) -> tuple[ContentKind | None, bytes, str]:
        kind: ContentKind | None = None
        media_type = ""
        data = bytearray()
        async for reply in replies:
            if reply.HasField("asset"):
                self._check_size(reply.asset.size_bytes)
                kind, media_type = _KINDS.get(reply.asset.modality), reply.asset.media_type
            data += reply.data
            self._check_size(len(data))
        return kind, bytes(data), media_type

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise LimitExceededError(
                f"the asset has {size} bytes or more, {self._max_bytes} are encoded at most",
                field="asset",
            )


def _without_field(error: LookalikeError) -> LookalikeError:
    """Return the error without the place in a request that our caller never saw."""
    return type(error)(
        error.message,
        resource_type=error.resource_type,
        resource_name=error.resource_name,
        retry_after=error.retry_after,
    )
