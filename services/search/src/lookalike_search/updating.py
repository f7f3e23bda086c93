"""Decides what an update of some fields of one entity means. Pure: no store, no encoder, no clock.

An update keeps the vectors that are stored, unless it names them, the content, or a text that a
vector was encoded from. It raises the generation by one: later than what it changes, so that no
repeated or copied write of that undoes it, and earlier than the next rewriting of the item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lookalike_common.errors import ConcurrentChangeError, InvalidArgumentError
from lookalike_search.attributes import canonical_json, coerce_attributes
from lookalike_search.encoding import Content
from lookalike_search.model import CollectionSpec, EntityRecord, JsonValue, Vector, VectorFieldSpec
from lookalike_search.vectors import vector_bytes
from lookalike_search.writing import (
    Encoding,
    EntityDraft,
    check_text,
    check_vectors,
    hash_sources,
    source_encoding,
)

_EVERYTHING: Final = "*"
_ATTRIBUTES: Final = "attributes"
_CONTENT: Final = "content"
_VECTORS: Final = "vectors"
_PLAIN: Final = ("asset", "segment", "text", "source_uri")
"""Fields that are replaced as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityChange:
    """What a caller wants to change, checked against the collection as far as it can be."""

    draft: EntityDraft
    plain: frozenset[str]
    attributes: frozenset[str]
    all_attributes: bool
    """Attributes that are not named go."""
    vectors: frozenset[str]
    content: bool

    def may_encode(self, spec: CollectionSpec) -> bool:
        """Whether the encoder might be needed, depending on what is stored."""
        return self.content or any(each.source_attribute for each in spec.vector_fields)


@dataclass(frozen=True, slots=True)
class PlannedUpdate:
    """A change that was laid over what is stored."""

    record: EntityRecord
    """With the vectors that the caller brought only."""
    encodings: tuple[Encoding, ...]
    """Vectors that are to be made."""


def read_change(draft: EntityDraft, mask: Sequence[str], spec: CollectionSpec) -> EntityChange:
    """Return what `mask` selects of `draft`; without a mask, all that the draft has.

    Raises `InvalidArgumentError` at `update_mask`, or at a field of the entity.
    """
    paths = mask or _present(draft)
    if _EVERYTHING in paths:
        paths = [*_PLAIN, _ATTRIBUTES, *_present(replace(draft, attributes={}))]
    names: dict[str, set[str]] = {_ATTRIBUTES: set(), _VECTORS: set()}
    plain: set[str] = set()
    for path in paths:
        head, _, tail = path.partition(".")
        if path in _PLAIN or path == _CONTENT:
            plain.add(path)
        elif head in names and (tail or path == head):
            names[head] |= {tail} if tail else set(getattr(draft, head))
        else:
            raise InvalidArgumentError(f"{path[:80]} cannot be changed", field="update_mask")
    change = EntityChange(
        draft=draft,
        plain=frozenset(plain - {_CONTENT}),
        attributes=frozenset(names[_ATTRIBUTES]),
        all_attributes=_ATTRIBUTES in paths,
        vectors=frozenset(names[_VECTORS]),
        content=_CONTENT in plain,
    )
    _check(change, spec, asked_for_vectors=_VECTORS in paths)
    return change


def plan_update(change: EntityChange, stored: EntityRecord, spec: CollectionSpec) -> PlannedUpdate:
    """Lay a change over the stored entity, whose vectors are not looked at.

    Raises `ConcurrentChangeError` when the caller changes another generation than the stored one,
    and `InvalidArgumentError` when the entity would not fit its collection any more.
    """
    draft = change.draft
    if draft.generation not in {0, stored.generation}:
        raise ConcurrentChangeError(
            f"generation {stored.generation} is stored, the change is of {draft.generation}",
            field="generation",
        )
    merged = replace(stored, **{name: getattr(draft, name) for name in change.plain})
    attributes = coerce_attributes(_merged_attributes(change, stored), spec)
    brought = {name: draft.vectors[name] for name in change.vectors}
    encodings = [
        each
        for field in spec.vector_fields
        if field.name not in brought
        for each in _encoding(field, change, stored, merged.text, attributes)
    ]
    content_hash = _changed_hash(spec, stored, brought, encodings)
    if content_hash == stored.content_hash:
        brought, encodings = {}, []
    return PlannedUpdate(
        replace(merged, attributes=attributes, vectors=brought, content_hash=content_hash),
        tuple(encodings),
    )


def finish_update(
    plan: PlannedUpdate,
    stored: EntityRecord,
    made: Mapping[str, Vector],
    now: datetime,
    *,
    renew: bool = False,
) -> EntityRecord | None:
    """Return what is to be written over `stored`, which has all its vectors; None if nothing is.

    With `renew`, as where entities have a ttl, it is written also where nothing changes.
    Raises `ConcurrentChangeError` if a vector is needed that was not when `made` was made.
    """
    wanted = {each.field.name for each in plan.encodings}
    if not wanted <= made.keys():
        raise ConcurrentChangeError("the entity was changed meanwhile; repeat")
    record = plan.record
    if _facts(record) == _facts(stored):
        return replace(stored, write_time=now) if renew else None
    encoded = {name: made[name] for name in wanted}
    return replace(
        record,
        vectors={**stored.vectors, **record.vectors, **encoded},
        generation=stored.generation + 1,
        confirmed=False,
        update_time=now,
        write_time=now,
    )


def _present(draft: EntityDraft) -> list[str]:
    """Return the paths of what a draft has, attributes one by one."""
    return [
        *(name for name in (*_PLAIN, _CONTENT) if getattr(draft, name)),
        *(f"{_ATTRIBUTES}.{name}" for name in draft.attributes),
        *(f"{_VECTORS}.{name}" for name in draft.vectors),
    ]


def _check(change: EntityChange, spec: CollectionSpec, *, asked_for_vectors: bool) -> None:
    if change.content and change.draft.content is None:
        raise InvalidArgumentError("is to be encoded, and is missing", field=_CONTENT)
    kind = change.draft.content.kind if change.draft.content else ""
    if change.content and not any(_takes_content(each, kind) for each in spec.vector_fields):
        raise InvalidArgumentError("no vector field of the collection encodes it", field=_CONTENT)
    if asked_for_vectors and not change.vectors:
        raise InvalidArgumentError("there are none; vectors cannot be removed", field=_VECTORS)
    for name in change.vectors - change.draft.vectors.keys():
        raise InvalidArgumentError(
            "is missing; a vector cannot be removed", field=f"{_VECTORS}.{name[:80]}"
        )
    check_vectors({name: change.draft.vectors[name] for name in change.vectors}, spec)
    if "text" in change.plain:
        check_text(change.draft.text)


def _merged_attributes(change: EntityChange, stored: EntityRecord) -> dict[str, JsonValue]:
    kept = {} if change.all_attributes else stored.attributes
    return {**kept, **{name: change.draft.attributes.get(name) for name in change.attributes}}


def _encoding(
    field: VectorFieldSpec,
    change: EntityChange,
    stored: EntityRecord,
    text: str,
    attributes: Mapping[str, JsonValue],
) -> Iterable[Encoding]:
    """Yield how the vector of a field is made anew, if it has to be."""
    if field.source_attribute and field.encoder:
        before = source_encoding(field, stored.text, stored.attributes)
        after = source_encoding(field, text, attributes)
        if after is None and before is not None:
            raise InvalidArgumentError(
                "a vector is encoded from it; it cannot be removed", field=before.source
            )
        if after is not None and after != before:
            yield after
    elif (content := change.draft.content) is not None and change.content:
        yield from _content_encoding(field, content)


def _content_encoding(field: VectorFieldSpec, content: Content) -> Iterable[Encoding]:
    if _takes_content(field, content.kind):
        yield Encoding(field, content, _CONTENT)


def _takes_content(field: VectorFieldSpec, kind: str) -> bool:
    """Tell whether content is encoded for a field; optional ones leave out what they cannot."""
    encodes = bool(field.encoder) and not field.source_attribute
    return encodes and (not field.optional or kind in field.takes)


def _changed_hash(
    spec: CollectionSpec,
    stored: EntityRecord,
    brought: Mapping[str, Vector],
    encodings: Sequence[Encoding],
) -> str:
    """Return the hash that a whole write would have, where all vectors' sources are known."""
    if not brought and not encodings:
        return stored.content_hash
    kept = f"as in {stored.content_hash}".encode()
    sources = {each.name: kept for each in spec.vector_fields}
    sources |= {name: vector_bytes(vector) for name, vector in brought.items()}
    sources |= {each.field.name: each.content.digest() for each in encodings}
    return hash_sources(spec, sources)


def _facts(record: EntityRecord) -> tuple[object, ...]:
    return (
        record.content_hash,
        record.asset,
        record.text,
        record.source_uri,
        canonical_json(record.segment),
        canonical_json(record.attributes),
    )
