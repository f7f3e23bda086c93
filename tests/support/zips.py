"""Zip archives that are good, and zip archives that lie."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping


def make_zip(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a plain archive; names are taken as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = method
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return file.getvalue()


def with_link(members: Mapping[str, bytes], name: str, target: str) -> bytes:
    """Return an archive with a symbolic link beside its members."""
    file = io.BytesIO(make_zip(members))
    with zipfile.ZipFile(file, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return file.getvalue()


def claiming(data: bytes, *, name: str, size: int) -> bytes:
    """Return an archive whose directory says that its one member unpacks to `size` bytes."""
    packed = raw_deflate(data)
    return assemble([local(name, packed)], [entry(name, packed, size, zlib.crc32(data), 0)])


def overlapping(data: bytes, count: int) -> bytes:
    """Return an archive whose entries all share one stretch of packed bytes."""
    packed = raw_deflate(data)
    names = [f"{number}.png" for number in range(count)]
    entries = [entry(name, packed, len(data), zlib.crc32(data), 0) for name in names]
    return assemble([local(names[0], packed)], entries)


def raw_deflate(data: bytes) -> bytes:
    """Pack bytes as zip members are packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def local(name: str, packed: bytes) -> bytes:
    """Return a member as it stands in front of the directory, with its sizes left out."""
    header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 0, len(name), 0)
    return header + name.encode() + packed


def entry(name: str, packed: bytes, size: int, crc: int, offset: int) -> bytes:
    """Return a member's entry in the directory."""
    fields = (20, 20, 0, 8, 0, 0, crc, len(packed), size, len(name), 0, 0, 0, 0, 0, offset)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name.encode()


def assemble(locals_: list[bytes], entries: list[bytes]) -> bytes:
    """Put an archive together."""
    body, directory = b"".join(locals_), b"".join(entries)
    count = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end
