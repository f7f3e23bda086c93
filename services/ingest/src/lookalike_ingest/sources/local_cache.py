"""Files that were brought or unpacked onto the local disk, for as long as they are in use.

What is far away, or can be read forwards only, is brought here where it must be read twice or at
random. The folder belongs to one process, is bounded in bytes, and is emptied at the next start:
nothing in it is worth keeping.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

from lookalike_common.errors import LimitExceededError, StorageFullError

_LOCKS = 64
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_OWNER = "owner"


class LocalCache:
    """Files by key; those used longest ago make room for new ones."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._key_locks = [threading.Lock() for _ in range(_LOCKS)]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_orphans(folder)
        self._folder = folder / uuid4().hex
        self._folder.mkdir(mode=0o700)
        self._owner = _own(self._folder)

    @property
    def used_bytes(self) -> int:
        """Bytes of all files."""
        with self._lock:
            return sum(self._sizes.values())

    def open(self, key: str, size: int, pieces: Callable[[], Iterator[bytes]]) -> BinaryIO:
        """Open the file of a key; where it is not there, it is made of `pieces`. Blocks.

        An open file stays readable when it makes room. `size` is what it is expected to have, or
        negative. Raises LimitExceededError for one that is larger than the cache, StorageFullError,
        and what `pieces` raises.
        """
        name = _name(key)
        with self._key_locks[hash(name) % _LOCKS]:
            file = _open_if_there(self._folder / name)
            if file is None:
                self._make_room(max(size, 0))
                file = self._fill(name, pieces)
            with self._lock:
                self._sizes[name] = os.fstat(file.fileno()).st_size
                self._sizes.move_to_end(name)
        self._make_room(0)
        return file

    def find(self, key: str) -> BinaryIO | None:
        """Open the file of a key, or return None where it is not there."""
        return _open_if_there(self._folder / _name(key))

    def scratch(self) -> BinaryIO:
        """Return an empty file without a name, which is gone once it is closed."""
        return cast("BinaryIO", tempfile.TemporaryFile(dir=self._folder))

    def close(self) -> None:
        """Remove everything."""
        self._owner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fill(self, name: str, pieces: Callable[[], Iterator[bytes]]) -> BinaryIO:
        unfinished = self._folder / uuid4().hex
        try:
            with unfinished.open("xb") as file:
                for piece in pieces():
                    if file.tell() + len(piece) > self._max_bytes:
                        raise _too_large(self._max_bytes)
                    file.write(piece)
            path = unfinished.rename(self._folder / name)
            return path.open("rb")
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFullError("the disk of the ingest service is full") from error
            raise
        finally:
            unfinished.unlink(missing_ok=True)

    def _make_room(self, coming: int) -> None:
        if coming > self._max_bytes:
            raise _too_large(self._max_bytes)
        with self._lock:
            total = sum(self._sizes.values()) + coming
            while total > self._max_bytes and self._sizes:
                name, size = self._sizes.popitem(last=False)
                (self._folder / name).unlink(missing_ok=True)
                total -= size


def _name(key: str) -> str:
    return hashlib.sha256(os.fsencode(key)).hexdigest()


def _open_if_there(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _too_large(limit: int) -> LimitExceededError:
    return LimitExceededError(f"this is larger than the local cache of {limit} bytes")


def _own(folder: Path) -> BinaryIO:
    """Hold a lock that says that the folder's process lives."""
    file = (folder / _OWNER).open("wb")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _remove_orphans(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            with (folder / _OWNER).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its process lives
        except OSError:
            pass
        shutil.rmtree(folder, ignore_errors=True)
