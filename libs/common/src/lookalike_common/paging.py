"""Opaque page tokens: where a listing goes on, bound to the request they were made for.

A token carries a version, a digest of everything in the request that must not change between
pages, and the position. It is no secret and grants nothing; the digest only catches mistakes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Final

from lookalike_common.errors import InvalidPageTokenError

Scalar = str | int | float | None
Position = list[Scalar]
"""What a listing needs to go on, in its own order, such as `[score, id]`."""

_VERSION: Final = 1
_DIGEST_DIGITS: Final = 16
_MAX_TOKEN_LENGTH: Final = 8192


def encode_page_token(position: Position, *bound_to: object) -> str:
    """Return a token for the page after `position`; `bound_to` must be the same to read it."""
    content = json.dumps([_VERSION, _digest(bound_to), position], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode_page_token(token: str, *bound_to: object, field: str = "page_token") -> Position | None:
    """Return the position in a token, or None for the empty token of a first page.

    Raises `InvalidPageTokenError` when it is damaged or was made for another request.
    """
    if not token:
        return None
    content = _read(token)
    if content is None:
        raise InvalidPageTokenError("is damaged; start over without it", field=field)
    digest, position = content
    if digest != _digest(bound_to):
        raise InvalidPageTokenError("belongs to another request; start over", field=field)
    return position


def _read(token: str) -> tuple[str, Position] | None:
    if len(token) > _MAX_TOKEN_LENGTH:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        content = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        return None
    match content:
        case [1, str(digest), list(position)] if all(map(_is_scalar, position)):
            return digest, position
        case _:
            return None


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _digest(bound_to: tuple[object, ...]) -> str:
    """Digest the request; bytes (a serialized message) and anything JSON can hold are taken."""
    total = hashlib.sha256()
    for each in bound_to:
        part = each if isinstance(each, bytes) else json.dumps(each, sort_keys=True).encode()
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:_DIGEST_DIGITS]
