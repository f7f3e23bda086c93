"""The file behind a URI, and where a table's row says that its content lies."""

from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import quote

from lookalike_common.errors import LocationNotAllowedError
from lookalike_ingest.sources.found import Found

FindFile: TypeAlias = Callable[[str, str], Found]
"""Finds the one file behind a URI of a tenant.

Raises errors of `lookalike_common.errors` for what does not exist or may not be read.
"""

_ASSETS = "assets/"
_FILE = "file:///"


def absolute_uri(reference: str, table_uri: str) -> str:
    """Return the URI of what a row of a table refers to: itself, or a path beside the table.

    Whether it may be read is decided where it is opened. Raises LocationNotAllowedError for a path
    where the table lies beside nothing.
    """
    if "://" in reference or reference.startswith(_ASSETS):
        return reference
    if table_uri.startswith(_ASSETS):
        raise LocationNotAllowedError("a table that is an asset needs whole URIs in its rows")
    quoted = table_uri.startswith((_FILE, "https://", "http://"))
    path = quote(reference) if quoted else reference
    if reference.startswith("/"):
        if not table_uri.startswith(_FILE):
            raise LocationNotAllowedError("a path from the root needs a table among files")
        return f"{_FILE}{path.lstrip('/')}"
    return f"{table_uri.rpartition('/')[0]}/{path}"
