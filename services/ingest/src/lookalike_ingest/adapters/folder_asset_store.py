"""The asset store in a folder: one file an asset, named by hashes only.

    tenants/<hash of the tenant>/<2 digits>/<sha256>    assets
    uploads/<id>/data, uploads/<id>/about.json          uploads
    new/                                                what is being written

A file becomes an asset by an atomic rename after it was flushed, so an asset is whole or not
there. How much of an upload is kept is the length of its file: nothing else can disagree with it.
"""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from lookalike_common.errors import (
    HashMismatchError,
    NotFoundError,
    OffsetMismatchError,
    StorageFullError,
)
from lookalike_ingest.asset_keys import (
    asset_path,
    checked_upload_id,
    no_asset,
    no_upload,
    upload_id_of,
)
from lookalike_ingest.asset_store import Asset, Upload
from lookalike_ingest.media_types import PREFIX_BYTES, detect_media

T = TypeVar("T")
_THREADS = 4
_PIECE_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class FolderAssetStore:
    """An `AssetStore` on a local or shared file system."""

    def __init__(self, folder: Path, *, upload_expiry: timedelta, min_free_bytes: int = 0) -> None:
        self._folder = folder
        self._tenants = folder / "tenants"
        self._uploads = folder / "uploads"
        self._new = folder / "new"
        self._upload_expiry = upload_expiry
        self._min_free_bytes = min_free_bytes
        self._executor = ThreadPoolExecutor(_THREADS, "assets")
        self._upload_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    async def open_folder(self) -> None:
        """Make the folders, and remove what a crash left half written."""
        await self._run(self._prepare)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.to_thread(self._executor.shutdown)

    async def put(self, tenant: str, sha256: str, data: bytes) -> None:
        """Keep bytes whose hash is known; nothing happens when they are there."""
        await self._run(lambda: self._put(self._path(tenant, sha256), data))

    async def put_file(self, tenant: str, sha256: str, opener: Callable[[], BinaryIO]) -> None:
        """Keep what `opener` opens, piece by piece; nothing happens when it is there."""
        await self._run(lambda: self._put_file(self._path(tenant, sha256), sha256, opener))

    async def find(self, tenant: str, sha256: str) -> Asset | None:
        """Return what is known about an asset, or None."""
        return await self._run(lambda: _describe(self._path(tenant, sha256), sha256))

    async def delete(self, tenant: str, sha256: str) -> bool:
        """Remove an asset; tell whether there was one."""

        def remove() -> bool:
            try:
                self._path(tenant, sha256).unlink()
            except FileNotFoundError:
                return False
            return True

        return await self._run(remove)

    def open(self, tenant: str, sha256: str) -> BinaryIO:
        """Open an asset for reading; blocks. Raises NotFoundError."""
        try:
            return self._path(tenant, sha256).open("rb")
        except FileNotFoundError as error:
            raise no_asset(sha256) from error

    async def read(
        self, tenant: str, sha256: str, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a stretch of an asset, piece by piece; it may be deleted meanwhile."""
        file = await self._open(self._path(tenant, sha256))
        with file:
            await self._run(lambda: file.seek(offset))
            while length > 0:
                piece = await self._run(partial(file.read, min(length, _PIECE_BYTES)))
                if not piece:
                    return
                length -= len(piece)
                yield piece

    async def start_upload(self, tenant: str, sha256: str, size: int) -> Upload:
        """Begin an upload, or return the one that began with the same size and hash."""
        return await self._run(lambda: self._start_upload(tenant, sha256, size))

    async def find_upload(self, tenant: str, upload_id: str) -> Upload | None:
        """Return an upload, or None when there is none or it expired."""
        return await self._run(lambda: self._find_upload(tenant, upload_id))

    async def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> Upload:
        """Add bytes at the end; the last ones make it an asset."""

        def locked() -> Upload:
            with self._upload_locks[upload_id]:
                return self._append(tenant, upload_id, offset, data)

        return await self._run(locked)

    async def flush(self, upload_id: str) -> None:
        """Make what was appended survive a power cut."""
        await self._run(
            lambda: _flush_if_there(self._uploads / checked_upload_id(upload_id) / "data")
        )

    async def delete_expired(self) -> int:
        """Forget uploads that were left; return how many."""
        return await self._run(self._delete_expired)

    def _prepare(self) -> None:
        for folder in (self._tenants, self._uploads, self._new):
            folder.mkdir(parents=True, exist_ok=True)
        self._delete_unfinished(datetime.now(UTC) - self._upload_expiry)

    def _path(self, tenant: str, sha256: str) -> Path:
        return self._folder / asset_path(tenant, sha256)

    def _put(self, path: Path, data: bytes) -> None:
        if path.exists():
            return
        self._check_space(len(data))
        unfinished = self._new / uuid4().hex
        with unfinished.open("wb") as file:
            file.write(data)
        _publish(unfinished, path)

    def _put_file(self, path: Path, sha256: str, opener: Callable[[], BinaryIO]) -> None:
        if path.exists():
            return
        unfinished = self._new / uuid4().hex
        total = hashlib.sha256()
        try:
            with opener() as source, unfinished.open("wb") as file:
                while piece := source.read(_PIECE_BYTES):
                    self._check_space(len(piece))
                    total.update(piece)
                    file.write(piece)
            if total.hexdigest() != sha256:
                raise HashMismatchError("the bytes changed while they were kept")
            _publish(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _check_space(self, coming: int) -> None:
        if shutil.disk_usage(self._new).free < coming + self._min_free_bytes:
            raise StorageFullError("the disk of the asset store is full")

    def _start_upload(self, tenant: str, sha256: str, size: int) -> Upload:
        upload_id = upload_id_of(tenant, sha256, size)
        known = self._find_upload(tenant, upload_id)
        if known is not None:
            return known
        self._check_space(size)
        folder = self._uploads / upload_id
        shutil.rmtree(folder, ignore_errors=True)
        beginning = self._new / uuid4().hex
        beginning.mkdir()
        about = {"tenant": tenant, "sha256": sha256, "size": size}
        (beginning / "about.json").write_text(json.dumps(about))
        (beginning / "data").touch()
        beginning.rename(folder)
        return self._upload(tenant, upload_id)

    def _find_upload(self, tenant: str, upload_id: str) -> Upload | None:
        try:
            upload = self._upload(tenant, upload_id)
        except NotFoundError:
            return None
        return upload

    def _upload(self, tenant: str, upload_id: str) -> Upload:
        """Read an upload from disk. Raises NotFoundError, also when it expired."""
        folder = self._uploads / checked_upload_id(upload_id)
        about = _read_about(folder)
        if about is None or about["tenant"] != tenant:
            raise no_upload(upload_id)
        complete = self._path(tenant, about["sha256"]).exists()
        changed = _last_change(folder)
        size = about["size"]
        if not complete and not (folder / "data").exists():  # the asset was deleted since
            raise no_upload(upload_id)
        expires = changed + self._upload_expiry
        if expires < datetime.now(UTC):
            raise no_upload(upload_id)
        committed = size if complete else (folder / "data").stat().st_size
        return Upload(upload_id, about["sha256"], size, committed, complete, expires)

    def _append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> Upload:
        upload = self._upload(tenant, upload_id)
        if upload.committed != offset:
            raise OffsetMismatchError(
                f"the upload stands at {upload.committed}, not at {offset}",
                field="write_offset",
                metadata={"committed_bytes": str(upload.committed)},
            )
        if offset + len(data) > upload.size:
            raise HashMismatchError(f"more bytes than the announced {upload.size}", field="data")
        if upload.complete:
            return upload
        with (self._uploads / upload_id / "data").open("ab") as file:
            file.write(data)
        if offset + len(data) == upload.size:
            self._complete(tenant, upload)
        return self._upload(tenant, upload_id)

    def _complete(self, tenant: str, upload: Upload) -> None:
        data = self._uploads / upload.id / "data"
        with data.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != upload.sha256:
            os.truncate(data, 0)
            raise HashMismatchError(
                f"the bytes have the SHA-256 {found}, not the announced one; send them again"
            )
        _publish(data, self._path(tenant, upload.sha256))

    def _delete_expired(self) -> int:
        deleted = 0
        oldest = datetime.now(UTC) - self._upload_expiry
        for folder in self._uploads.iterdir():
            if _last_change(folder) < oldest:
                shutil.rmtree(folder, ignore_errors=True)
                self._upload_locks.pop(folder.name, None)
                deleted += 1
        self._delete_unfinished(oldest)
        return deleted

    def _delete_unfinished(self, oldest: datetime) -> None:
        """Remove what a killed process left; younger things may be another replica's, at work."""
        for beginning in self._new.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if datetime.fromtimestamp(beginning.stat().st_mtime, UTC) < oldest:
                    if beginning.is_dir():
                        shutil.rmtree(beginning, ignore_errors=True)
                    else:
                        beginning.unlink()

    async def _open(self, path: Path) -> BinaryIO:
        """Open a file; should the caller leave before that is done, it is closed again."""

        def open_file() -> BinaryIO:
            return path.open("rb")

        opening = asyncio.ensure_future(self._run(open_file))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_again)
            raise

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFullError("the disk of the asset store is full") from error
            raise


def _close_again(opening: "asyncio.Task[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _publish(unfinished: Path, path: Path) -> None:
    """Flush a file and give it its name at one stroke."""
    _flush(unfinished)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_if_there(path: Path) -> None:
    try:
        _flush(path)
    except FileNotFoundError:
        return


# Any: the JSON was written by this module.
def _read_about(folder: Path) -> dict[str, Any] | None:
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_text())
    except FileNotFoundError:
        return None
    return about


def _last_change(folder: Path) -> datetime:
    """Return when an upload began or last grew."""
    files = (folder / "about.json", folder / "data")
    times = [file.stat().st_mtime for file in files if file.exists()]
    return datetime.fromtimestamp(max(times, default=0), UTC)


def _describe(path: Path, sha256: str) -> Asset | None:
    try:
        with path.open("rb") as file:
            prefix = file.read(PREFIX_BYTES)
            state = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    created = datetime.fromtimestamp(state.st_mtime, UTC)
    return Asset(sha256, state.st_size, detect_media(prefix), created)
