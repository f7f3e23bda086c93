"""Small pictures for a report, as addresses that carry their own bytes.

Only what begins like a picture is shown, and nothing is fetched from anywhere but the service's
own assets and, where the service runs on this machine, the files that it read.
"""

import base64
import io
import warnings
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lookalike.ingest.v1 import job_pb2
from lookalike_client.client import Client
from lookalike_client.errors import LookalikeError

_EDGE = 160
_MAX_BYTES = 32 << 20
"""Of an original that is looked at."""
_MAX_PLAIN_BYTES = 128 << 10
"""Of an original that is shown as it is, for a browser to make the most of."""
_MAX_PIXELS = 50_000_000
_TYPES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)


def thumbnail_of(client: Client, failure: job_pb2.JobFailure, *, here: bool) -> str:
    """A `data:` address of the picture that failed; empty where there is none to show.

    With `here` the service's files are those of this machine.
    """
    data = _asset(client, failure.asset)
    if not data and here:
        data = _local(failure.source_uri)
    return address(data)


def address(data: bytes) -> str:
    """A `data:` address of a picture, made small; empty where the bytes are none."""
    media_type = next((name for magic, name in _TYPES if data.startswith(magic)), "")
    if not media_type:
        return ""
    small = _scaled(data)
    if small:
        return _carried("image/jpeg", small)
    return _carried(media_type, data) if len(data) <= _MAX_PLAIN_BYTES else ""


def _carried(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _scaled(data: bytes) -> bytes:
    """A small JPEG file; nothing where the picture cannot be read, or Pillow is not here."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - slow to import, and only with [all]
    except ImportError:
        return b""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    return b""
                opened.draft("RGB", (_EDGE, _EDGE))
                shown = ImageOps.exif_transpose(opened).convert("RGBA")
        shown.thumbnail((_EDGE, _EDGE))
        paper = Image.new("RGB", shown.size, "white")
        paper.paste(shown, mask=shown)
        buffer = io.BytesIO()
        paper.save(buffer, "JPEG")
    except Exception:  # noqa: BLE001 - a codec may raise anything about a broken picture
        return b""
    return buffer.getvalue()


def _asset(client: Client, asset: str) -> bytes:
    if not asset:
        return b""
    try:
        return client.read_asset(asset, max_bytes=_MAX_BYTES)
    except LookalikeError:  # deleted, or not ours
        return b""


def _local(uri: str) -> bytes:
    """The bytes of a `file://` address, or of a member of a zip archive after `!/`."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        return b""
    path, _, member = uri.removeprefix("file://").partition("!/")
    try:
        if not member:
            with Path(unquote(path)).open("rb") as file:
                return file.read(_MAX_BYTES)
        with zipfile.ZipFile(unquote(path)) as archive, archive.open(member) as packed:
            return packed.read(_MAX_BYTES)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return b""
