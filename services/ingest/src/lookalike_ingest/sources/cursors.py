"""Forward-only streams that are kept open between reads.

Compressed bytes can be read from their beginning only. Items come in the order in which they stand
in their container, so the stream that gave one is kept where it stands for the next; without that,
the last of a million rows would cost a million times the work of the first. Threads that read
neighbours arrive in any order: a stretch behind the position is kept for that.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import BinaryIO

from lookalike_common.errors import SourceChangedError

_CHUNK = 256 << 10
_LOCKS = 64


class Cursor:
    """A forward-only stream with a short memory."""

    def __init__(self, stream: BinaryIO, kept_bytes: int) -> None:
        self._stream = stream
        self._kept_bytes = kept_bytes
        self._kept = bytearray()
        self._end = 0
        """How far the stream was read."""
        self._position = 0

    @property
    def start(self) -> int:
        """The first position that can still be read."""
        return self._end - len(self._kept)

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        behind = self._end - self._position
        if behind:
            first = len(self._kept) - behind
            data = bytes(self._kept[first : first + size])
        else:
            data = self._stream.read(size)
            self._end += len(data)
            self._kept += data
            if len(self._kept) > 2 * self._kept_bytes:
                del self._kept[: len(self._kept) - self._kept_bytes]
        self._position += len(data)
        return data

    def move_to(self, offset: int) -> None:
        """Go to a position not before `start`. Raises SourceChangedError behind the end."""
        self._position = min(offset, self._end)
        while self._position < offset:
            if not self.read(min(_CHUNK, offset - self._position)):
                raise SourceChangedError("the file ends before a place that was listed")

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class Cursors:
    """Cursors by what they read; at most `most` are kept, those used last."""

    def __init__(self, *, most: int = 8, kept_bytes: int = 4 << 20) -> None:
        self._most = most
        self._kept_bytes = kept_bytes
        self._idle: OrderedDict[tuple[Hashable, int], Cursor] = OrderedDict()
        self._numbers = count()
        self._lock = threading.Lock()
        self._key_locks = [threading.Lock() for _ in range(_LOCKS)]
        self.opened = 0
        """How many streams were begun."""

    @contextmanager
    def at(self, key: Hashable, opener: Callable[[], BinaryIO], offset: int) -> Iterator[Cursor]:
        """Give a cursor that stands at `offset`, opening a stream only where none is kept.

        Readers of one key take turns; what fails under way is not kept.
        """
        with self._key_locks[hash(key) % _LOCKS]:
            cursor = self._take(key, offset) or self._open(opener)
            try:
                cursor.move_to(offset)
                yield cursor
            except BaseException:
                cursor.close()
                raise
            self._keep(key, cursor)

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for cursor in idle:
            cursor.close()

    def _open(self, opener: Callable[[], BinaryIO]) -> Cursor:
        self.opened += 1
        return Cursor(opener(), self._kept_bytes)

    def _take(self, key: Hashable, offset: int) -> Cursor | None:
        """Return the idle cursor that has the least way to go."""
        with self._lock:
            able = [
                (cursor.start, number)
                for (own, number), cursor in self._idle.items()
                if own == key and cursor.start <= offset
            ]
            return self._idle.pop((key, max(able)[1])) if able else None

    def _keep(self, key: Hashable, cursor: Cursor) -> None:
        with self._lock:
            self._idle[key, next(self._numbers)] = cursor
            spare = [self._idle.popitem(last=False)[1] for _ in range(len(self._idle) - self._most)]
        for each in spare:
            each.close()
