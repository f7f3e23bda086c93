"""Where listings by id go on."""

from __future__ import annotations

from lookalike_common.errors import InvalidPageTokenError
from lookalike_common.paging import decode_page_token, encode_page_token


def read_after(page_token: str, *bound_to: object) -> str:
    """Return the last id of the page before; empty on the first page.

    Raises `InvalidPageTokenError` for a token of another listing.
    """
    match decode_page_token(page_token, *bound_to):
        case None:
            return ""
        case [str(after)]:
            return after
        case _:
            raise InvalidPageTokenError("is damaged; start over without it", field="page_token")


def token_after(last: str, *bound_to: object) -> str:
    """Return the token of the page after `last`."""
    return encode_page_token([last], *bound_to)
