"""Identifiers on which two services must agree: entity ids and resource names."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from lookalike_common.errors import InvalidArgumentError

WHOLE: Final = "whole"
"""The splitter that leaves an item as it is; its only segment has the index 0."""

ENTITY_ID_DIGITS: Final = 32

_SHORT_ID: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The same forms as the rules in the protos.
_PATTERNS: Final = {
    "collections": _SHORT_ID,
    "encoders": rf"{_SHORT_ID}(?:@[A-Za-z0-9._-]{{1,64}})?",
    "jobs": _SHORT_ID,
    "assets": r"[0-9a-f]{64}",
    "uploads": r"[A-Za-z0-9._-]{1,128}",
    "entities": r"[!-.0-~]{1,128}",
}


def entity_id(item: str, splitter: str, index: int) -> str:
    """Return the id of one segment of an item: the same for ever, for every service.

    The first 32 hexadecimal digits of SHA-256 over the length-prefixed UTF-8 parts, so that no
    two different triples share their bytes.
    """
    total = hashlib.sha256()
    for part in (item.encode(), splitter.encode(), str(index).encode()):
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:ENTITY_ID_DIGITS]


def parse_name(name: str, *kinds: str, field: str = "name") -> tuple[str, ...]:
    """Return the ids in a name, one for each kind: `collections/a/entities/b` is `("a", "b")`.

    Raises `InvalidArgumentError` at `field` when the name has another form.
    """
    pattern = "/".join(f"{kind}/({_PATTERNS[kind]})" for kind in kinds)
    match = re.fullmatch(pattern, name)
    if match is None:
        form = "/".join(f"{kind}/{{{_singular(kind)}}}" for kind in kinds)
        raise InvalidArgumentError(f"must have the form {form}", field=field)
    return match.groups()


def _singular(kind: str) -> str:
    return kind[:-3] + "y" if kind.endswith("ies") else kind[:-1]
