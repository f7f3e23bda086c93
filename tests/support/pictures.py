"""Small valid pictures, each different from the others."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def png(seed: int, *, width: int = 8, height: int = 8, filler: bytes = b"") -> bytes:
    """Return a small valid PNG; `filler` travels in a comment."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    row = b"\0" + bytes((seed >> shift) & 255 for shift in (16, 8, 0)) * min(width, 8)
    pixels = zlib.compress(row * min(height, 8))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    comment = chunk(b"tEXt", b"c\0" + filler) if filler else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + comment
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def fill(folder: Path, count: int, start: int = 0) -> None:
    """Write photos `0.png`, `1.png`, … into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        (folder / f"{number}.png").write_bytes(png(number))
