"""What listing a source finds, before and after it is known what becomes of it."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lookalike_common.errors import LimitExceededError, LookalikeError, SourceChangedError
from lookalike_ingest.job import ItemProblem, NewItem, Outcome
from lookalike_ingest.places import Compression, ContainerPlace, FilePlace, Place, SlicePlace
from lookalike_ingest.problem import Problem

MAX_KEY_BYTES = 1024
MAX_URI_LENGTH = 2048
_APPLE_DOUBLE = "._"
NOWHERE = FilePlace("")
"""The place of what was refused before it had one."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, of which nothing but its name and size is known."""

    key: str
    """Below the source that was asked for, with `/`; its suffix says what it claims to be."""
    uri: str
    place: ContainerPlace
    size: int
    version: str = ""
    """See `NewItem.version`."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the bytes of a stream lie, so that stretches of it have a place."""

    container: ContainerPlace
    compression: Compression = ""
    offset: int = 0
    version: str = ""
    """See `Containers.version`."""

    def piece(
        self, offset: int, length: int, name: str, *, kind: str = "", line: int = 0
    ) -> SlicePlace:
        """Return the place of a stretch of the stream; see `SlicePlace`."""
        return SlicePlace(
            self.container,
            self.compression,
            self.offset + offset,
            length,
            name,
            kind,
            line,
            self.version,
        )


def taken(key: str, uri: str, place: Place, size: int, version: str = "") -> NewItem:
    """Return an item whose turn will come, unless its name is reason enough to leave it out."""
    if len(key.encode()) > MAX_KEY_BYTES:
        error = LimitExceededError(f"the path is longer than {MAX_KEY_BYTES} bytes")
        return refused(key, uri, place, "fetch", error)
    if PurePosixPath(key).name.startswith(_APPLE_DOUBLE):
        return skipped(key, uri, place)
    return NewItem(key, uri[:MAX_URI_LENGTH], place, size, version=version)


def skipped(key: str, uri: str, place: Place) -> NewItem:
    """Return an item that is left out."""
    key, uri = (storable(text) for text in (key, uri))
    return NewItem(key, uri[:MAX_URI_LENGTH], place, 0, outcome=Outcome.SKIPPED)


def refused(
    key: str,
    uri: str,
    place: Place,
    step: str,
    error: LookalikeError | OSError,
    *,
    line: int = 0,
) -> NewItem:
    """Return an item that failed while it was found."""
    problem = ItemProblem(step, Problem.of(_explain(error)), line=line)
    key, uri = (storable(text) for text in (key, uri))
    return NewItem(key, uri[:MAX_URI_LENGTH], place, 0, outcome=Outcome.FAILED, problem=problem)


def storable(text: str) -> str:
    """Return text without the one character that no database takes."""
    return text.replace("\0", "\\0")


def _explain(error: LookalikeError | OSError) -> LookalikeError:
    if isinstance(error, LookalikeError):
        return error
    return SourceChangedError(f"this cannot be read: {error.strerror}")
