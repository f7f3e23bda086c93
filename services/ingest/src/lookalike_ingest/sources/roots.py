"""The only way from a caller's URI to the file system: under a configured root, or not at all.

A path is resolved (all links followed) before it is compared, and again when it is opened, since
what lies behind a name may change between listing and reading.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from lookalike_common.errors import (
    InvalidArgumentError,
    LocationNotAllowedError,
    NotFoundError,
    SourceChangedError,
)

_LOCAL_HOSTS = frozenset({"", "localhost"})


class Roots:
    """The folders that jobs may read."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(os.path.realpath(folder) for folder in folders)

    def resolve_uri(self, uri: str) -> str:
        """Return the real path behind a `file://` URI.

        Raises InvalidArgumentError (not such a URI), LocationNotAllowedError or NotFoundError.
        """
        return self.resolve(_path_of(uri))

    def resolve(self, path: str) -> str:
        """Return the real path behind a path, which must lie under a root and exist."""
        real = os.path.realpath(path)
        self._check(real)
        if not Path(real).exists():
            raise NotFoundError("no such file or folder", resource_name=uri_of(path))
        return real

    def allows(self, path: str) -> bool:
        """Tell whether the real path behind `path` lies under a root."""
        real = os.path.realpath(path)
        return any(_is_below(real, folder) for folder in self._folders)

    def open(self, path: str) -> BinaryIO:
        """Open a file that was resolved when its source was listed.

        Raises LocationNotAllowedError, or SourceChangedError when it is gone or is no file now.
        """
        if os.path.realpath(path) != path:
            raise SourceChangedError("the file was replaced by a link since it was listed")
        self._check(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise SourceChangedError(f"the file cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SourceChangedError("this is no regular file any more")
        return os.fdopen(descriptor, "rb")

    def _check(self, real: str) -> None:
        if not any(_is_below(real, folder) for folder in self._folders):
            raise LocationNotAllowedError(
                "this place is not under a configured root; an operator can add one to "
                "LOOKALIKE_INGEST__ROOTS"
            )


def uri_of(path: str) -> str:
    """Return the `file://` URI of a path."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def text_of(path: str) -> str:
    r"""Return a path as text that is valid UTF-8: bytes that are not become `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_folder_uri(uri: str) -> bool:
    """Tell whether a URI means everything below a folder."""
    return uri.endswith("/")


def _path_of(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidArgumentError("this is no URI") from error
    if parts.scheme != "file":
        raise LocationNotAllowedError("only file:// URIs and assets/{asset} can be read here")
    if parts.netloc not in _LOCAL_HOSTS or parts.query or parts.fragment:
        raise InvalidArgumentError("a file URI has the form file:///folder/file, percent-encoded")
    path = unquote_to_bytes(parts.path)
    if b"\0" in path or not path.startswith(b"/"):
        raise InvalidArgumentError("a file URI needs an absolute path")
    return os.fsdecode(path)


def _is_below(real: str, folder: str) -> bool:
    return real == folder or real.startswith(folder.rstrip("/") + "/")
