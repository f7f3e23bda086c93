"""`lookalike.encoder.v1.EncoderAdminService`."""

from __future__ import annotations

from lookalike.encoder.v1 import encoder_admin_service_pb2 as pb
from lookalike.encoder.v1 import encoder_pb2
from lookalike.encoder.v1.encoder_admin_service_pb2_grpc import EncoderAdminServiceServicer
from lookalike_common.status import to_status
from lookalike_encoder.convert.encoder import to_encoder
from lookalike_encoder.lifecycle import Lifecycle

ADMIN_SERVICE = "lookalike.encoder.v1.EncoderAdminService"


class EncoderAdminServicer(EncoderAdminServiceServicer):
    """Changes which encoders this process holds."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    async def LoadEncoder(  # noqa: N802 - the name of the rpc
        self, request: pb.LoadEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        """Load an installed encoder."""
        return to_encoder(await self._lifecycle.load(request.name), to_status)

    async def UnloadEncoder(  # noqa: N802 - the name of the rpc
        self, request: pb.UnloadEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        """Take an encoder out of memory."""
        return to_encoder(await self._lifecycle.unload(request.name), to_status)

    async def ReloadEncoder(  # noqa: N802 - the name of the rpc
        self, request: pb.ReloadEncoderRequest, _context: object
    ) -> encoder_pb2.Encoder:
        """Load an encoder anew."""
        return to_encoder(await self._lifecycle.reload(request.name), to_status)
