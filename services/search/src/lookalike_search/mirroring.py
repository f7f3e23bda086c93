"""What the other side of a migrating collection gets of a write. Pure: no store, no encoder.

Both sides hold the same entities, each with the vectors of its own encoders. A write goes to both,
with the generation and the content hash that it has on the side that answers: these two tell
whether the sides are in step. A write that lacks what the other side needs leaves a gap there, so
that the entity is missing until somebody encodes it, and never stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lookalike_common.errors import ConcurrentChangeError, InvalidArgumentError, LookalikeError
from lookalike_search.model import CollectionSpec, EntityRecord, StoredCollection, Vector
from lookalike_search.writing import EntityDraft, PreparedWrite, prepare


def prepare_mirror(draft: EntityDraft, collection: StoredCollection) -> PreparedWrite | None:
    """Prepare a draft for the other side; None where it lacks what that side needs."""
    if collection.other is None:
        return None
    other = collection.other.spec
    vectors = translated(draft.vectors, collection.spec, other)
    try:
        return prepare(replace(draft, vectors=vectors), other)
    except LookalikeError:
        return None


def translated(
    vectors: Mapping[str, Vector], spec: CollectionSpec, other: CollectionSpec
) -> dict[str, Vector]:
    """Return those vectors that are of use on the other side, by their fields there.

    They come from the very same encoder there, whatever the fields are called.
    """
    brought = {
        each.fingerprint: vectors[each.name]
        for each in spec.vector_fields
        if each.encoder and each.name in vectors
    }
    return {
        each.name: brought[each.fingerprint]
        for each in other.vector_fields
        if each.fingerprint in brought
    }


def mirrored(record: EntityRecord, mirror: PreparedWrite) -> EntityRecord:
    """Return a record of the side that answers as it looks on the other one."""
    return replace(record, attributes=mirror.record.attributes, vectors=mirror.record.vectors)


def in_step(one: EntityRecord | None, other: EntityRecord | None) -> bool:
    """Whether both sides have an entity with the same content, or both have none."""
    if one is None or other is None:
        return one is other
    return (one.generation, one.content_hash) == (other.generation, other.content_hash)


def prepare_backfill(
    draft: EntityDraft, live: EntityRecord | None, spec: CollectionSpec
) -> PreparedWrite:
    """Prepare a write to the side that does not answer: an entity of the other, encoded anew.

    Everything but the vectors is as on the side that answers, `live`. Raises
    `ConcurrentChangeError` where that has another generation or content than was encoded, or has
    no such entity any more.
    """
    if not draft.generation:
        raise InvalidArgumentError(
            "is needed: the generation of the entity that was read and encoded", field="generation"
        )
    if live is None:
        raise ConcurrentChangeError("the migrating collection has no such entity", field="name")
    if draft.generation != live.generation:
        raise ConcurrentChangeError(
            f"the migrating collection has generation {live.generation}", field="generation"
        )
    if draft.content_hash not in {"", live.content_hash}:
        raise ConcurrentChangeError(
            "the migrating collection has another content", field="content_hash"
        )
    prepared = prepare(replace(draft, text=live.text, attributes=live.attributes), spec)
    return replace(prepared, record=mirrored(live, prepared))
