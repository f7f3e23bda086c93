"""An item's bytes as its source has them: in memory where they are few, a file where they are many.

What is read twice (hashed first, decoded later) must be the same thing both times: a file that
changed in between is refused instead of being stored under the hash of something else.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from lookalike_common.errors import LimitExceededError, SourceChangedError
from lookalike_ingest.job import Attributes
from lookalike_ingest.media_types import MediaType, Modality

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """What a table's row says; empty where it says nothing."""

    text: str = ""
    title: str = ""
    smiles: str = ""
    sequence: str = ""
    vectors: Mapping[str, bytes] = field(default_factory=dict)
    """Given vectors by vector field: components as little-endian float32."""
    attributes: Attributes = field(default_factory=dict)
    copied: bool = False
    """Whether its text is an entity's: SMILES or bases where the collection takes only such."""

    @property
    def has_content(self) -> bool:
        """Whether it says itself what is to be found, and not only about something else."""
        return bool(self.text or self.title or self.smiles or self.sequence or self.vectors)

    def to_bytes(self) -> bytes:
        """Return all that it says; equal rows give equal bytes."""
        words = [self.text, self.title, self.smiles, self.sequence, dict(self.attributes)]
        vectors = {name: hashlib.sha256(each).hexdigest() for name, each in self.vectors.items()}
        return json.dumps([*words, vectors], sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that were found and not yet read; whoever gets one closes its file."""

    file: BinaryIO
    """Seekable, standing at the beginning."""
    name: str
    """The name of the file, whose suffix may say what it should be."""
    size: int
    given_as: Modality | None = None
    """What the caller said it is; None where nobody said anything."""
    sha256: str = ""
    """Where it is known beforehand."""
    stored: bool = False
    """Whether the bytes are an asset already."""
    keep: bool = True
    """Whether they are worth an asset: a row of a table, or a record, is not."""
    reopen: Callable[[], BinaryIO] | None = None
    """Opens the same bytes again; None where they can only be held in memory."""
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Original:
    """Bytes that were read once, with their hash."""

    name: str
    size: int
    sha256: str
    media_type: MediaType
    given_as: Modality | None = None
    stored: bool = False
    keep: bool = True
    row: Row | None = None
    data: bytes | None = None
    """All of them; None where there are many."""
    file: Callable[[], BinaryIO] | None = None
    """Opens them where they are not in memory."""

    def open(self) -> BinaryIO:
        """Open them for reading; seekable. Raises SourceChangedError when they are others now."""
        if self.data is not None:
            return io.BytesIO(self.data)
        if self.file is None:
            raise SourceChangedError("the bytes are gone")
        return self.file()

    def read(self) -> bytes:
        """Return all bytes, for what is small by its limits."""
        if self.data is not None:
            return self.data
        with self.open() as file:
            return file.read()


def load(blob: Blob, media_type: MediaType, *, memory_bytes: int, max_bytes: int) -> Original:
    """Read a blob once: into memory up to `memory_bytes`, else only through its hash.

    Raises LimitExceededError above `max_bytes`, SourceChangedError when it changes meanwhile.
    """
    data: bytes | None = None
    if blob.size <= memory_bytes or blob.reopen is None:
        data = blob.file.read(min(max_bytes, memory_bytes) + 1)
        size, sha256 = len(data), blob.sha256 or hashlib.sha256(data).hexdigest()
        check_size(size, min(max_bytes, memory_bytes))
    else:
        size, sha256 = _hash(blob, max_bytes)
    return Original(
        blob.name,
        size,
        sha256,
        media_type,
        blob.given_as,
        blob.stored,
        blob.keep,
        blob.row,
        data,
        _same(blob) if data is None else None,
    )


def check_size(size: int, limit: int) -> None:
    """Raise LimitExceededError for more bytes than are allowed."""
    if size > limit:
        raise LimitExceededError(f"the file has {size} bytes; at most {limit} are allowed")


def _hash(blob: Blob, max_bytes: int) -> tuple[int, str]:
    total, size = hashlib.sha256(), 0
    while piece := blob.file.read(_PIECE_BYTES):
        size += len(piece)
        check_size(size, max_bytes)
        total.update(piece)
    return size, total.hexdigest()


def _same(blob: Blob) -> Callable[[], BinaryIO]:
    """Return an opener that refuses a file which is not the one that was hashed."""
    stamp, reopen = _stamp(blob.file), blob.reopen

    def open_again() -> BinaryIO:
        if reopen is None:
            raise SourceChangedError("the bytes are gone")
        file = reopen()
        if _stamp(file) != stamp:
            file.close()
            raise SourceChangedError("the file changed while it was read")
        return file

    return open_again


def _stamp(file: BinaryIO) -> tuple[int, ...]:
    try:
        facts = os.fstat(file.fileno())
    except (OSError, io.UnsupportedOperation):
        return ()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
