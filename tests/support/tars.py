"""Tar archives that are good, and tar archives that lie."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence


def make_tar(
    members: Mapping[str, bytes],
    *,
    others: Sequence[tarfile.TarInfo] = (),
    tar_format: int = tarfile.PAX_FORMAT,
) -> bytes:
    """Return an archive of files, and of members without bytes behind them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return file.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Return a link, a device, a pipe, a folder."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info
