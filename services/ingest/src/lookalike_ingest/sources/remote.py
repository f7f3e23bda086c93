"""What the service needs of places that are no local files: object stores, the web.

A caller names an address; whether it may be read, and with whose credentials, the operator decides.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from lookalike_common.errors import LocationNotAllowedError
from lookalike_ingest.places import RemotePlace
from lookalike_ingest.sources.found import Found


class RemoteFiles(Protocol):
    """Files of one kind of place. Blocks: call it in a thread.

    Raises LocationNotAllowedError for what lies under no configured prefix, NotFoundError,
    SourceChangedError for what is gone or was replaced since it was listed, and
    BackendUnavailableError where the place does not answer, or refuses its credentials.
    """

    def serves(self, uri: str) -> bool:
        """Tell whether URIs of this kind are read here, allowed or not."""

    def place_of(self, uri: str) -> RemotePlace:
        """Return the place of a URI, without asking whether anything is there."""

    def walk(self, uri: str) -> Iterator[Found]:
        """Yield the files below a URI that ends with `/`, keyed by what follows it."""

    def look(self, place: RemotePlace) -> RemotePlace:
        """Return the place as it is now, with its etag and size."""

    def read(self, place: RemotePlace, length: int) -> Iterator[bytes]:
        """Yield a file's first bytes; all for a negative length.

        Raises SourceChangedError where it is not the one in `place`.
        """


class Remotes:
    """All of them by their kind of place."""

    def __init__(self, kinds: Mapping[str, RemoteFiles]) -> None:
        self._kinds = kinds

    def serving(self, uri: str) -> RemoteFiles | None:
        """Return who reads a URI, or None for one that is none of theirs."""
        return next((each for each in self._kinds.values() if each.serves(uri)), None)

    def of(self, place: RemotePlace) -> RemoteFiles:
        """Return who reads a place."""
        files = self._kinds.get(place.kind)
        if files is None:
            raise LocationNotAllowedError("places of this kind are not read here")
        return files


def find_remote(files: RemoteFiles, uri: str) -> Found:
    """Return the one file at a URI, looked at."""
    place = files.look(files.place_of(uri))
    name = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Found(name or uri, uri, place, place.size, place.etag)
