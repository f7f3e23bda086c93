"""Puts hits that belong together into groups. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_search.attributes import canonical_json
from lookalike_search.fusion import Hit
from lookalike_search.model import EntityRecord, JsonValue

ITEM = "item"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBy:
    """How hits are put into groups."""

    field: str
    """`item`, or an attribute; entities without it share the group null."""
    size: int = 1
    """Hits in a group, at most."""


@dataclass(frozen=True, slots=True)
class HitGroup:
    """Hits with the same key, best first."""

    key: JsonValue
    hits: tuple[Hit, ...]


def group_hits(hits: Sequence[Hit], group_by: GroupBy) -> list[HitGroup]:
    """Return the groups by their best hit; `hits` are sorted, best first."""
    keys: dict[bytes, JsonValue] = {}
    members: dict[bytes, list[Hit]] = {}
    for hit in hits:
        value = group_key(hit.record, group_by.field)
        key = canonical_json(value)
        keys.setdefault(key, value)
        group = members.setdefault(key, [])
        if len(group) < group_by.size:
            group.append(hit)
    return [HitGroup(keys[key], tuple(group)) for key, group in members.items()]


def group_key(record: EntityRecord, field: str) -> JsonValue:
    """Return the value that decides to which group an entity belongs."""
    return record.item if field == ITEM else record.attributes.get(field)
