"""What splitters need of whoever decodes media: to read bytes that nobody should trust.

Codecs and document readers crash, hang and eat memory on the right input. They run in processes
of their own, whose end is the end of one item and of nothing else.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, Protocol, TypeAlias

TIME = "time"
"""In an error's metadata: where in the item it happened, in seconds, such as `12.48`."""


Fact: TypeAlias = "bool | int | float | str | list[Fact] | dict[str, Fact] | None"
"""What JSON can say."""
Facts: TypeAlias = Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One thing that a task found: a frame, a stretch of sound, a page."""

    facts: Facts
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What any item may have, whatever it is made of."""

    max_pixels: int = 100_000_000
    """Width times height of a picture, a frame, or a page as it is drawn."""
    max_duration: timedelta = timedelta(hours=12)
    """From the first to the last moment of a sound or a video."""


class Readable(Protocol):
    """Bytes that can be opened, once or many times."""

    def open(self) -> BinaryIO:
        """Return them from their beginning, seekable; whoever asked closes it."""


class Decoder(Protocol):
    """Runs decoding tasks. Blocks: call it in a thread."""

    def run(
        self, task: str, original: Readable, arguments: Facts
    ) -> Generator[Decoded, None, None]:
        """Yield what `decode_tasks.<task>` finds, as it is pulled.

        A process is held until the iterator ends or is closed, so close what is not read to its
        end. Raises InvalidContentError (damaged; the codec crashed, or got nowhere),
        LimitExceededError (too large; over its memory or processor time) and UnsupportedMediaError.
        """
