"""Decides what a write of one entity means. Pure: no store, no encoder, no clock.

A write carries a generation. An older one never replaces a newer one; a repeated one keeps the
answer that it got first, so that a job which resumes after a crash counts what it counted before.

An entity that is written again unchanged, by a newer generation that the caller named, takes over
that generation although nothing else changes: the caller will delete what is left of older
generations, and this entity is not left over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from lookalike_common.errors import (
    ConcurrentChangeError,
    EncoderMismatchError,
    InvalidArgumentError,
    LookalikeError,
)
from lookalike_common.ids import WHOLE, entity_id
from lookalike_search.attributes import canonical_json, coerce_attributes
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.model import (
    CollectionSpec,
    EntityRecord,
    JsonValue,
    Outcome,
    Vector,
    VectorFieldSpec,
)
from lookalike_search.vectors import check_vector, vector_bytes

TEXT: Final = "text"
"""As a source of vectors: the entity's own text."""
MAX_TEXT_BYTES: Final = 65_535
MAX_ITEM_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityDraft:
    """An entity as a caller sends it."""

    id: str = ""
    item: str = ""
    asset: str = ""
    segment: Mapping[str, JsonValue] = field(default_factory=dict)
    text: str = ""
    attributes: Mapping[str, JsonValue] = field(default_factory=dict)
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    content: Content | None = None
    content_hash: str = ""
    generation: int = 0
    source_uri: str = ""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A vector that is to be made."""

    field: VectorFieldSpec
    content: Content
    source: str
    """Path in the entity of what is encoded: `content`, `text`, `attributes.title`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedWrite:
    """A draft that fits its collection; only vectors may be missing, and those can be encoded."""

    record: EntityRecord
    """What will be stored, without generation and times."""
    missing: tuple[Encoding, ...]
    """Vectors that are made, should the entity be written."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one write."""

    outcome: Outcome
    record: EntityRecord | None
    """What is written; None where nothing is."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one entity that was kept."""

    id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of the entities, in the order of the drafts."""

    results: list[Written | LookalikeError]
    position: int
    """What a read must see to see these writes."""
    stored_in: timedelta = timedelta(0)
    """How long the store took, with waiting for other writers."""


def prepare(draft: EntityDraft, spec: CollectionSpec) -> PreparedWrite:
    """Check a draft against its collection and fill in what follows from it."""
    check_text(draft.text)
    _check_size(draft.item, MAX_ITEM_BYTES, "item")
    check_vectors(draft.vectors, spec)
    attributes = coerce_attributes(draft.attributes, spec)
    missing = tuple(
        _encoding(each, draft, attributes)
        for each in spec.vector_fields
        if each.name not in draft.vectors and not _may_lack(each, draft, attributes)
    )
    if not missing and not draft.vectors:
        raise InvalidArgumentError(
            "there is none, and nothing that the collection's encoders take", field="vectors"
        )
    content_hash = draft.content_hash or hash_sources(
        spec,
        {name: vector_bytes(vector) for name, vector in draft.vectors.items()}
        | {each.field.name: each.content.digest() for each in missing},
    )
    item = draft.item or draft.id or content_hash
    record = EntityRecord(
        id=draft.id or entity_id(item, WHOLE, _segment_index(draft)),
        item=item,
        asset=draft.asset,
        segment=draft.segment,
        text=draft.text,
        attributes=attributes,
        vectors=draft.vectors,
        content_hash=content_hash,
        generation=draft.generation,
        source_uri=draft.source_uri,
    )
    return PreparedWrite(record=record, missing=missing)


def draft_key(draft: EntityDraft) -> str:
    """Return the id that a draft will have; one and the same for all whose content decides it."""
    if draft.id or not draft.item:
        return draft.id
    return entity_id(draft.item, WHOLE, _segment_index(draft))


def check_text(text: str) -> None:
    """Raise `InvalidArgumentError` at `text` if it is too long."""
    _check_size(text, MAX_TEXT_BYTES, "text")


def check_vectors(vectors: Mapping[str, Vector], spec: CollectionSpec) -> None:
    """Raise an error at `vectors.<name>` for a vector that the collection cannot take."""
    for name, vector in vectors.items():
        field = spec.vector_field(name)
        at = f"vectors.{name[:80]}"
        if field is None:
            raise InvalidArgumentError(f"the collection has no vector field {name[:80]}", field=at)
        check_vector(vector, field, at)


def check_fingerprints(fingerprints: Mapping[str, str], spec: CollectionSpec) -> None:
    """Raise `EncoderMismatchError` for vectors of another encoder than a field is bound to."""
    for name, fingerprint in fingerprints.items():
        field = spec.vector_field(name)
        bound = field.fingerprint if field is not None else ""
        if fingerprint != bound:
            raise EncoderMismatchError(
                f"the vectors are of the fingerprint {fingerprint[:80]}; the collection is bound "
                f"to {bound or 'none'}",
                field=f"encoder_fingerprints.{name[:80]}",
                metadata={"requested": fingerprint[:80], "collection": bound},
            )


def source_encoding(
    field: VectorFieldSpec, text: str, attributes: Mapping[str, JsonValue]
) -> Encoding | None:
    """Return what is made of the text or attribute that is a field's source; None without one."""
    name = field.source_attribute
    value = text if name == TEXT else attributes.get(name)
    if not isinstance(value, str) or not value:
        return None
    return Encoding(
        field,
        Content(kind=ContentKind(field.source_kind), data=value.encode()),
        TEXT if name == TEXT else f"attributes.{name}",
    )


def hash_sources(spec: CollectionSpec, sources: Mapping[str, bytes]) -> str:
    """Return the SHA-256, in hex, of what each vector field's vector comes from, and how."""
    total = hashlib.sha256()
    for each in spec.vector_fields:
        source = sources.get(each.name, b"")
        for part in (each.name.encode(), each.fingerprint.encode(), source):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def decide(
    write: EntityRecord, stored: EntityRecord | None, now: datetime, *, renew: bool = False
) -> Decision:
    """Compare a write with what is stored; raises `ConcurrentChangeError` if that is newer.

    `write.generation` 0 means now, and later than whatever is stored. With `renew`, as where
    entities have a ttl, a new write is stored also where it changes nothing.
    """
    generation = write.generation or _microseconds(now)
    if stored is None:
        return Decision(Outcome.CREATED, _stamped(write, generation, None, now))
    if not write.generation:
        generation = max(generation, stored.generation + 1)
    if generation < stored.generation:
        raise ConcurrentChangeError(
            f"generation {stored.generation} is stored, which is newer than {generation}",
            field="generation",
        )
    same = _same(write, stored)
    if generation == stored.generation:
        if same:
            return Decision(_first_outcome(stored), None)
        created = stored.create_generation == generation
        return Decision(
            Outcome.CREATED if created else Outcome.UPDATED,
            _stamped(write, generation, stored, now),
        )
    if not same:
        return Decision(Outcome.UPDATED, _stamped(write, generation, stored, now))
    kept = _stamped(write, generation, stored, now)
    if not write.generation:
        renewed = replace(
            kept,
            generation=stored.generation,
            update_time=stored.update_time,
            confirmed=stored.confirmed,
        )
        return Decision(Outcome.UNCHANGED, renewed if renew else None)
    return Decision(
        Outcome.UNCHANGED, replace(kept, update_time=stored.update_time, confirmed=True)
    )


def _may_lack(
    field: VectorFieldSpec, draft: EntityDraft, attributes: Mapping[str, JsonValue]
) -> bool:
    """Tell whether an entity lacks an optional field: there is nothing to make its vector of."""
    if not field.optional:
        return False
    if field.source_attribute:
        return source_encoding(field, draft.text, attributes) is None
    return draft.content is None or draft.content.kind not in field.takes


def _encoding(
    field: VectorFieldSpec, draft: EntityDraft, attributes: Mapping[str, JsonValue]
) -> Encoding:
    """Return how a vector that the draft lacks is made, or raise why it cannot be."""
    at = f"vectors.{field.name}"
    if not field.encoder:
        raise InvalidArgumentError("is missing, and the field has no encoder", field=at)
    if field.source_attribute:
        found = source_encoding(field, draft.text, attributes)
        if found is None:
            raise InvalidArgumentError(
                f"is missing, and there is no {field.source_attribute} to encode", field=at
            )
        return found
    if draft.content is None:
        raise InvalidArgumentError("is missing, and there is no content to encode", field=at)
    return Encoding(field, draft.content, "content")


def _first_outcome(stored: EntityRecord) -> Outcome:
    """Return what the first write of the stored generation was answered."""
    if stored.create_generation == stored.generation:
        return Outcome.CREATED
    return Outcome.UNCHANGED if stored.confirmed else Outcome.UPDATED


def _stamped(
    write: EntityRecord, generation: int, stored: EntityRecord | None, now: datetime
) -> EntityRecord:
    return replace(
        write,
        generation=generation,
        create_generation=stored.create_generation if stored else generation,
        create_time=stored.create_time if stored else now,
        update_time=now,
        write_time=now,
    )


def _same(write: EntityRecord, stored: EntityRecord) -> bool:
    return (
        write.content_hash == stored.content_hash
        and write.item == stored.item
        and write.asset == stored.asset
        and write.text == stored.text
        and write.source_uri == stored.source_uri
        and canonical_json(write.segment) == canonical_json(stored.segment)
        and canonical_json(write.attributes) == canonical_json(stored.attributes)
    )


def _segment_index(draft: EntityDraft) -> int:
    index = draft.segment.get("index", 0)
    return index if isinstance(index, int) else 0


def _check_size(text: str, limit: int, field: str) -> None:
    size = len(text.encode())
    if size > limit:
        raise InvalidArgumentError(f"has {size} bytes, {limit} are allowed", field=field)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
