"""Readers over bytes that come piece by piece, and over a stretch of a file."""

import io
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsafeArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 64 << 10
_GZIP = zlib.MAX_WBITS | 16
_FREE_BYTES = 1 << 20
"""So much may come out of anything, however small it was packed."""


class PieceReader(io.RawIOBase):
    """A forward-only file over pieces of bytes; closing it closes `pieces` too."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer from the next piece."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        target = memoryview(buffer).cast("B")
        length = min(len(target), len(self._left))
        target[:length] = self._left[:length]
        self._left = self._left[length:]
        return length

    def close(self) -> None:
        """Let go of what the pieces come from."""
        if not self.closed:
            super().close()
            end = getattr(self._pieces, "close", None)
            if end is not None:
                end()


def reader(pieces: Iterator[bytes]) -> BinaryIO:
    """Return a forward-only file over pieces."""
    return io.BufferedReader(PieceReader(pieces), _CHUNK)


class SeekableReader(io.RawIOBase):
    """A file of a known size that is read from anywhere; a subclass says what stands there."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, which reads nothing; a position behind the end reads as the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position


class Window(SeekableReader):
    """Bytes [start, start + length) of a seekable file, as a file; it closes the file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        super().__init__(length)
        self.file = file
        self.start = start
        self.length = length

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer from the file."""
        target = memoryview(buffer).cast("B")
        length = min(len(target), max(0, self.length - self._position))
        self.file.seek(self.start + self._position)
        data = self.file.read(length)
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file as well."""
        if not self.closed:
            super().close()
            self.file.close()


class LazyFile(SeekableReader):
    """A file whose beginning is cheap to have, and whose whole is brought once it is needed."""

    def __init__(self, size: int, head: Callable[[], bytes], whole: Callable[[], BinaryIO]) -> None:
        super().__init__(size)
        self._head = head
        self._open_whole = whole
        self._begun: bytes | None = None
        self._whole: BinaryIO | None = None

    def fileno(self) -> int:
        """Return the number of the whole file, which is brought for that."""
        return self._bring().fileno()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer, from the beginning if that has it."""
        target = memoryview(buffer).cast("B")
        if self._whole is None and self._begun is None and self._position < LAZY_BYTES:
            self._begun = self._head()
        end = min(self._position + len(target), self._size)
        if self._whole is None and end <= len(self._begun or b""):
            data = (self._begun or b"")[self._position : end]
        else:
            whole = self._bring()
            whole.seek(self._position)
            data = whole.read(len(target))
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close what was brought."""
        if not self.closed:
            super().close()
            if self._whole is not None:
                self._whole.close()

    def _bring(self) -> BinaryIO:
        if self._whole is None:
            self._whole = self._open_whole()
        return self._whole


LAZY_BYTES = 64 << 10
"""How much of a lazy file is its beginning."""


def lazy(size: int, head: Callable[[], bytes], whole: Callable[[], BinaryIO]) -> BinaryIO:
    """Return a seekable file, see `LazyFile`."""
    return io.BufferedReader(LazyFile(size, head, whole), LAZY_BYTES // 8)


def window(file: BinaryIO, start: int, length: int) -> BinaryIO:
    """Return a seekable file over a stretch of a seekable one."""
    return io.BufferedReader(Window(file, start, length), _CHUNK)


class CountingReader:
    """A file that is read forwards, and how much of it was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self.count += len(data)
        return data


def gunzip(file: CountingReader) -> Iterator[bytes]:
    """Yield what a gzip file holds; several may follow one another, zeros may follow all.

    Raises InvalidContentError for a damaged or truncated one.
    """
    packed = file.read(_CHUNK)
    while packed:
        unpacker = zlib.decompressobj(_GZIP)
        while packed and not unpacker.eof:
            try:
                piece = unpacker.decompress(packed, _CHUNK)
            except zlib.error as error:
                raise InvalidContentError("the gzip file is damaged") from error
            if piece:
                yield piece
            packed = unpacker.unconsumed_tail or unpacker.unused_data or file.read(_CHUNK)
        if not unpacker.eof:
            raise InvalidContentError("the gzip file is truncated")
        while packed and not packed.strip(b"\0"):
            packed = file.read(_CHUNK)
        packed = packed.lstrip(b"\0")


def bounded(
    pieces: Iterator[bytes], packed: CountingReader, *, total_bytes: int, ratio: int
) -> Iterator[bytes]:
    """Yield the pieces unpacked from a file, as long as they are in proportion.

    Raises UnsafeArchiveError or LimitExceededError.
    """
    unpacked = 0
    for piece in pieces:
        unpacked += len(piece)
        if unpacked > max(_FREE_BYTES, ratio * packed.count):
            raise UnsafeArchiveError(f"this is packed more than {ratio} times")
        if unpacked > total_bytes:
            raise LimitExceededError(f"this unpacks to more than {total_bytes} bytes")
        yield piece


def first_bytes(pieces: Iterator[bytes], wanted: int) -> Iterator[bytes]:
    """Yield pieces up to `wanted` bytes."""
    for piece in pieces:
        yield piece[:wanted]
        wanted -= len(piece)
        if wanted <= 0:
            return


class Readable(Protocol):
    """Something that is read forwards."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""


def read_pieces(file: Readable, length: int, chunk: int = 1 << 20) -> Iterator[bytes]:
    """Yield the next `length` bytes of a file, or fewer where it ends; all for a negative one."""
    while length:
        piece = file.read(chunk if length < 0 else min(length, chunk))
        if not piece:
            return
        length -= len(piece) if length > 0 else 0
        yield piece
