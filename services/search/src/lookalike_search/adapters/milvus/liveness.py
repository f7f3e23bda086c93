"""Whether a gRPC server is alive, however busy it is.

A process that stands still keeps its connections open, and calls to it end only with their
deadlines. A call of ours cannot tell it from one that is busy: Milvus Lite has one worker, and
whatever is asked waits behind a long search. But the first frame of a new connection comes from the
server's transport by itself. So this opens one, and waits for that frame.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_HEADER: Final = 9


async def is_alive(host: str, port: int, tls: ssl.SSLContext | None, limit: timedelta) -> bool:
    """Return whether the server there answers a new connection within the limit."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(_PREFACE + _NO_SETTINGS)
                await reader.readexactly(_FRAME_HEADER)
            finally:
                writer.transport.abort()
    except (OSError, EOFError, TimeoutError):
        return False
    return True
