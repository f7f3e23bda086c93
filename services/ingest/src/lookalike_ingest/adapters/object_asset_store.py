"""The asset store in an object store, for replicas that share no disk.

    tenants/<hash of the tenant>/<2 digits>/<sha256>    assets
    uploads/<id>/about.json                             an upload: what it will be
    uploads/<id>/<offset>                               its pieces, each as it arrived

An object appears whole or not at all, so an asset does, too: the pieces of an upload are put
together on the local disk when all are there, and become one object if their hash is the announced
one. How much of an upload is kept is what its pieces cover without a gap; two writers at one place
can only make it less, never wrong.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import BinaryIO, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as NoSuchObjectError
from obstore.store import ObjectStore

from lookalike_common.errors import (
    BackendUnavailableError,
    HashMismatchError,
    NotFoundError,
    OffsetMismatchError,
)
from lookalike_ingest.adapters.object_stores import StoreAccess, open_store
from lookalike_ingest.asset_keys import (
    asset_path,
    checked_upload_id,
    no_asset,
    no_upload,
    upload_id_of,
)
from lookalike_ingest.asset_store import Asset, Upload
from lookalike_ingest.media_types import PREFIX_BYTES, detect_media
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.streams import LAZY_BYTES, lazy

T = TypeVar("T")
_THREADS = 4
_PIECE_BYTES = 1 << 20
_GONE = (NoSuchObjectError, FileNotFoundError)


@dataclass(frozen=True, slots=True)
class _About:
    """What is kept of an upload beside its pieces."""

    tenant: str
    sha256: str
    size: int
    done: bool = False
    """Whether it became an asset, which may have been deleted since."""


class ObjectAssetStore:
    """An `AssetStore` below a prefix of an object store."""

    def __init__(self, access: StoreAccess, *, cache: LocalCache, upload_expiry: timedelta) -> None:
        self._prefix = access.prefix
        self._client: ObjectStore = open_store(access)
        self._cache = cache
        self._upload_expiry = upload_expiry
        self._executor = ThreadPoolExecutor(_THREADS, "assets")

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.to_thread(self._executor.shutdown)

    async def put(self, tenant: str, sha256: str, data: bytes) -> None:
        """Keep bytes whose hash is known; nothing happens when they are there."""
        await self._run(lambda: self._put(asset_path(tenant, sha256), data))

    async def put_file(self, tenant: str, sha256: str, opener: Callable[[], BinaryIO]) -> None:
        """Keep what `opener` opens, piece by piece. Raises HashMismatchError for other bytes."""

        def pieces() -> Iterator[bytes]:
            with opener() as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece

        await self._run(lambda: self._put_pieces(asset_path(tenant, sha256), sha256, pieces()))

    async def find(self, tenant: str, sha256: str) -> Asset | None:
        """Return what is known about an asset, or None."""
        return await self._run(lambda: self._find(asset_path(tenant, sha256), sha256))

    async def delete(self, tenant: str, sha256: str) -> bool:
        """Remove an asset; tell whether there was one."""

        def remove() -> bool:
            path = asset_path(tenant, sha256)
            there = self._size(path) is not None
            if there:
                obstore.delete(self._client, path)
            return there

        return await self._run(remove)

    def open(self, tenant: str, sha256: str) -> BinaryIO:
        """Open an asset for reading; blocks. Raises NotFoundError."""
        path = asset_path(tenant, sha256)
        with self._translated():
            size = self._size(path)
        if size is None:
            raise no_asset(sha256)
        cached = self._cache.find(path)
        if cached is not None:
            return cached
        whole = partial(self._cache.open, path, size, lambda: self._pieces(path, 0, size))
        return lazy(size, lambda: b"".join(self._pieces(path, 0, min(size, LAZY_BYTES))), whole)

    async def read(
        self, tenant: str, sha256: str, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a stretch of an asset, piece by piece. Raises NotFoundError."""
        pieces = self._pieces(asset_path(tenant, sha256), offset, length)
        while (piece := await self._run(lambda: next(pieces, None))) is not None:
            yield piece

    async def start_upload(self, tenant: str, sha256: str, size: int) -> Upload:
        """Begin an upload, or return the one that began with the same size and hash."""
        return await self._run(lambda: self._start_upload(_About(tenant, sha256, size)))

    async def find_upload(self, tenant: str, upload_id: str) -> Upload | None:
        """Return an upload, or None when there is none or it expired."""
        return await self._run(lambda: self._find_upload(tenant, upload_id))

    async def append(self, tenant: str, upload_id: str, offset: int, data: bytes) -> Upload:
        """Add bytes at the end; the last ones make it an asset."""
        return await self._run(lambda: self._append(tenant, upload_id, offset, data))

    async def flush(self, upload_id: str) -> None:
        """Do nothing: what was acknowledged is kept."""

    async def delete_expired(self) -> int:
        """Forget uploads that were left; return how many."""
        return await self._run(self._delete_expired)

    def _put(self, path: str, data: bytes) -> None:
        if self._size(path) is None:
            obstore.put(self._client, path, data)

    def _put_pieces(self, path: str, sha256: str, pieces: Iterator[bytes]) -> None:
        if self._size(path) is not None:
            return
        total = hashlib.sha256()
        with self._cache.scratch() as file:
            for piece in pieces:
                total.update(piece)
                file.write(piece)
            if total.hexdigest() != sha256:
                raise HashMismatchError(f"the bytes have the SHA-256 {total.hexdigest()}")
            file.seek(0)
            obstore.put(self._client, path, file)

    def _size(self, path: str) -> int | None:
        try:
            return obstore.head(self._client, path)["size"]
        except _GONE:
            return None

    def _find(self, path: str, sha256: str) -> Asset | None:
        try:
            result = obstore.get(self._client, path, options={"range": (0, PREFIX_BYTES)})
            prefix = bytes(result.bytes())
        except _GONE:
            return None
        meta = result.meta
        return Asset(sha256, meta["size"], detect_media(prefix), meta["last_modified"])

    def _pieces(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        if length <= 0:
            return
        with self._translated():
            try:
                options: obstore.GetOptions = {"range": (offset, offset + length)}
                result = obstore.get(self._client, path, options=options)
            except _GONE as error:
                raise no_asset(path.rpartition("/")[2]) from error
            for piece in result.stream(min_chunk_size=_PIECE_BYTES):
                yield bytes(piece)

    def _start_upload(self, about: _About) -> Upload:
        upload_id = upload_id_of(about.tenant, about.sha256, about.size)
        known = self._find_upload(about.tenant, upload_id)
        if known is not None:
            return known
        self._forget(upload_id)
        self._write_about(upload_id, about)
        return self._upload(about.tenant, upload_id)

    def _find_upload(self, tenant: str, upload_id: str) -> Upload | None:
        try:
            return self._upload(tenant, upload_id)
        except NotFoundError:
            return None

    def _upload(self, tenant: str, upload_id: str) -> Upload:
        """Read how an upload stands. Raises NotFoundError, also when it expired."""
        about = self._read_about(checked_upload_id(upload_id))
        if about is None or about.tenant != tenant:
            raise no_upload(upload_id)
        complete = self._size(asset_path(tenant, about.sha256)) is not None
        pieces, changed = self._list_pieces(upload_id)
        expires = changed + self._upload_expiry
        if (about.done and not complete) or expires < datetime.now(UTC):
            raise no_upload(upload_id)
        committed = about.size if complete else _covered(pieces)
        return Upload(upload_id, about.sha256, about.size, committed, complete, expires)

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
        if data:
            obstore.put(self._client, f"uploads/{upload_id}/{offset:020}", data)
        if offset + len(data) == upload.size:
            self._complete(tenant, upload)
        return self._upload(tenant, upload_id)

    def _complete(self, tenant: str, upload: Upload) -> None:
        pieces, _ = self._list_pieces(upload.id)
        try:
            data = (
                bytes(obstore.get(self._client, f"uploads/{upload.id}/{offset:020}").bytes())
                for offset in sorted(pieces)
            )
            self._put_pieces(asset_path(tenant, upload.sha256), upload.sha256, data)
        except HashMismatchError as error:
            self._delete_pieces(upload.id)
            raise HashMismatchError(
                f"{error.message}, not the announced one; send them again"
            ) from error
        self._write_about(upload.id, _About(tenant, upload.sha256, upload.size, done=True))
        self._delete_pieces(upload.id)

    def _list_pieces(self, upload_id: str) -> tuple[dict[int, int], datetime]:
        """Return the sizes of an upload's pieces by their offsets, and when it last changed."""
        pieces: dict[int, int] = {}
        changed = datetime.fromtimestamp(0, UTC)
        for chunk in obstore.list(self._client, f"uploads/{upload_id}"):
            for meta in chunk:
                changed = max(changed, meta["last_modified"])
                name = meta["path"].rpartition("/")[2]
                if name.isdigit():
                    pieces[int(name)] = meta["size"]
        return pieces, changed

    def _read_about(self, upload_id: str) -> _About | None:
        try:
            data = obstore.get(self._client, f"uploads/{upload_id}/about.json").bytes()
        except _GONE:
            return None
        return _About(**json.loads(bytes(data)))

    def _write_about(self, upload_id: str, about: _About) -> None:
        fields = {
            "tenant": about.tenant,
            "sha256": about.sha256,
            "size": about.size,
            "done": about.done,
        }
        path = f"uploads/{upload_id}/about.json"
        obstore.put(self._client, path, json.dumps(fields).encode())

    def _delete_pieces(self, upload_id: str) -> None:
        pieces, _ = self._list_pieces(upload_id)
        for offset in pieces:
            obstore.delete(self._client, f"uploads/{upload_id}/{offset:020}")

    def _forget(self, upload_id: str) -> None:
        """Remove an upload; what it is goes last, so that a broken attempt can be repeated."""
        self._delete_pieces(upload_id)
        if self._read_about(upload_id) is not None:
            obstore.delete(self._client, f"uploads/{upload_id}/about.json")

    def _delete_expired(self) -> int:
        oldest = datetime.now(UTC) - self._upload_expiry
        listing = obstore.list_with_delimiter(self._client, "uploads")
        left = [path.rpartition("/")[2] for path in listing["common_prefixes"]]
        expired = [each for each in left if self._list_pieces(each)[1] < oldest]
        for upload_id in expired:
            self._forget(upload_id)
        return len(expired)

    async def _run(self, call: Callable[[], T]) -> T:
        def translated() -> T:
            with self._translated():
                return call()

        return await asyncio.get_running_loop().run_in_executor(self._executor, translated)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            words = str(error).splitlines()[0][:200]
            raise BackendUnavailableError(
                f"the assets in {self._prefix} cannot be reached: {words}"
            ) from error


def _covered(pieces: dict[int, int]) -> int:
    """Return how far the pieces reach without a gap."""
    end = 0
    while end in pieces:
        end += pieces[end]
    return end
