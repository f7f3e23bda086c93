"""What an update of some fields means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lookalike_common.errors import ConcurrentChangeError, InvalidArgumentError
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSpec,
    EntityRecord,
    JsonValue,
    Metric,
    Vector,
    VectorFieldSpec,
)
from lookalike_search.updating import PlannedUpdate, finish_update, plan_update, read_change
from lookalike_search.vectors import vector_bytes
from lookalike_search.writing import EntityDraft, decide, prepare

THEN = datetime(2026, 1, 30, tzinfo=UTC)
NOW = THEN + timedelta(days=1)


def _field(name: str, encoder: str = "", source: str = "") -> VectorFieldSpec:
    return VectorFieldSpec(
        name=name,
        dimensions=2,
        metric=Metric.COSINE,
        encoder=encoder,
        fingerprint=encoder and "f" * 64,
        source_attribute=source,
    )


SPEC = CollectionSpec(
    id="c",
    uid="u",
    create_time=THEN,
    vector_fields=(
        _field("seen", "encoders/image@1"),
        _field("title", "encoders/text@1", "title"),
        _field("words", "encoders/text@1", "text"),
        _field("own"),
    ),
    attributes=(
        AttributeSpec(name="title", type=AttributeType.STRING),
        AttributeSpec(name="price", type=AttributeType.INT, nullable=True),
    ),
)
OLD = np.array([1, 0], np.float32)
NEW = np.array([0.1, 1 / 3], np.float32)
PHOTO = Content(kind=ContentKind.IMAGE, data=b"photo")


def whole(attributes: Mapping[str, JsonValue] | None = None, text: str = "words") -> EntityDraft:
    return EntityDraft(
        id="e",
        text=text,
        attributes={"title": "a cat", "price": 5, **(attributes or {})},
        vectors={"own": OLD},
        content=PHOTO,
        source_uri="file:///a",
    )


def stored_of(draft: EntityDraft) -> EntityRecord:
    prepared = prepare(draft, SPEC)
    record = decide(prepared.record, None, THEN).record
    assert record is not None
    return replace(record, vectors={each.name: OLD for each in SPEC.vector_fields})


STORED = stored_of(whole())


def planned(draft: EntityDraft, *mask: str, stored: EntityRecord = STORED) -> PlannedUpdate:
    return plan_update(read_change(draft, mask, SPEC), stored, SPEC)


def updated(draft: EntityDraft, *mask: str, stored: EntityRecord = STORED) -> EntityRecord:
    plan = planned(draft, *mask, stored=stored)
    made: dict[str, Vector] = {each.field.name: NEW for each in plan.encodings}
    record = finish_update(plan, stored, made, NOW)
    assert record is not None
    return record


def test_an_attribute_changes_and_nothing_else() -> None:
    record = updated(EntityDraft(id="e", attributes={"price": 6.0}))
    assert record == replace(
        STORED,
        attributes={"title": "a cat", "price": 6},
        generation=STORED.generation + 1,
        update_time=NOW,
        write_time=NOW,
    )


def test_what_changes_nothing_is_written_only_to_live_longer() -> None:
    plan = planned(EntityDraft(id="e", attributes={"price": 5}))
    assert finish_update(plan, STORED, {}, NOW) is None
    assert finish_update(plan, STORED, {}, NOW, renew=True) == replace(STORED, write_time=NOW)


@pytest.mark.parametrize(
    ("mask", "given", "expected"),
    [
        ((), {"free": 1}, {"title": "a cat", "price": 5, "free": 1}),
        ((), {"price": None}, {"title": "a cat"}),
        (("attributes.price",), {}, {"title": "a cat"}),
        (("attributes.price",), {"price": 6, "free": 1}, {"title": "a cat", "price": 6}),
        (("attributes",), {"title": "a cat"}, {"title": "a cat"}),
        (
            ("attributes", "attributes.price"),
            {"title": "a cat", "x": 1},
            {"title": "a cat", "x": 1},
        ),
    ],
)
def test_masks_of_attributes(
    mask: tuple[str, ...], given: dict[str, JsonValue], expected: dict[str, JsonValue]
) -> None:
    assert updated(EntityDraft(id="e", attributes=given), *mask).attributes == expected


def test_everything_means_all_that_can_be_replaced() -> None:
    record = updated(EntityDraft(attributes={"title": "a cat"}, text="words", asset="ab"), "*")
    assert (record.attributes, record.text) == ({"title": "a cat"}, "words")
    assert (record.asset, record.source_uri) == ("ab", "")
    assert all(vector_bytes(vector) == vector_bytes(OLD) for vector in record.vectors.values())


def test_only_vectors_of_what_changed_are_made_again() -> None:
    def made_by(draft: EntityDraft, *mask: str) -> list[tuple[str, str]]:
        return [(each.field.name, each.source) for each in planned(draft, *mask).encodings]

    assert made_by(EntityDraft(attributes={"title": "a dog"})) == [("title", "attributes.title")]
    assert made_by(EntityDraft(attributes={"title": "a cat", "price": 1})) == []
    assert made_by(EntityDraft(text="other")) == [("words", "text")]
    assert made_by(EntityDraft(content=PHOTO)) == [("seen", "content")]
    assert made_by(EntityDraft(content=PHOTO, vectors={"seen": NEW})) == []
    record = updated(EntityDraft(attributes={"title": "a dog"}))
    changed = {
        name for name, vector in record.vectors.items() if vector_bytes(vector) != vector_bytes(OLD)
    }
    assert changed == {"title"}
    assert record.content_hash != STORED.content_hash


def test_a_source_is_what_its_encoder_reads() -> None:
    [seen, title, *_] = SPEC.vector_fields
    spec = replace(SPEC, vector_fields=(seen, replace(title, source_kind="smiles")))
    stored = replace(STORED, attributes={"title": "CC"})
    change = read_change(EntityDraft(attributes={"title": "CO"}), (), spec)
    [encoding] = plan_update(change, stored, spec).encodings
    assert encoding.content == Content(kind=ContentKind.SMILES, data=b"CO")


def test_the_hash_is_that_of_a_whole_write_where_all_is_known() -> None:
    draft = EntityDraft(
        attributes={"title": "a dog"}, text="new", content=PHOTO, vectors={"own": NEW}
    )
    complete = prepare(replace(whole({"title": "a dog"}, "new"), vectors={"own": NEW}), SPEC)
    assert updated(draft).content_hash == complete.record.content_hash


def test_the_same_again_is_no_write() -> None:
    for draft in (
        EntityDraft(attributes={"price": 5, "missing": None}),
        EntityDraft(text="words", source_uri="file:///a"),
    ):
        assert finish_update(planned(draft), STORED, {}, NOW) is None


def test_the_same_content_again_is_no_write() -> None:
    spec = replace(SPEC, vector_fields=SPEC.vector_fields[:1])
    prepared = prepare(EntityDraft(attributes={"title": "t"}, content=PHOTO), spec).record
    stored = replace(prepared, generation=4, vectors={"seen": OLD})
    plan = plan_update(read_change(EntityDraft(content=PHOTO), (), spec), stored, spec)
    assert plan.encodings == ()
    assert finish_update(plan, stored, {}, NOW) is None


def test_a_repeated_write_of_the_old_generation_does_not_undo_it() -> None:
    record = updated(EntityDraft(attributes={"price": 6}))
    repeated = replace(prepare(whole(), SPEC).record, generation=STORED.generation)
    with pytest.raises(ConcurrentChangeError):
        decide(repeated, record, NOW)
    rewritten = replace(repeated, generation=STORED.generation + 2)
    assert decide(rewritten, record, NOW).record is not None


def test_another_generation_is_refused() -> None:
    draft = EntityDraft(text="new", generation=STORED.generation)
    assert updated(draft).text == "new"
    for generation in (STORED.generation - 1, STORED.generation + 1):
        with pytest.raises(ConcurrentChangeError) as caught:
            planned(replace(draft, generation=generation))
        assert caught.value.field == "generation"


def test_a_source_that_changed_meanwhile_is_refused() -> None:
    change = EntityDraft(attributes={"title": "a cat"})
    plan = planned(change, stored=stored_of(whole({"title": "a dog"})))
    with pytest.raises(ConcurrentChangeError):
        finish_update(plan, STORED, {}, NOW)


@pytest.mark.parametrize(
    ("draft", "mask", "field"),
    [
        (EntityDraft(), ["item"], "update_mask"),
        (EntityDraft(), ["name"], "update_mask"),
        (EntityDraft(), ["generation"], "update_mask"),
        (EntityDraft(), ["text.x"], "update_mask"),
        (EntityDraft(), ["nothing"], "update_mask"),
        (EntityDraft(), ["content"], "content"),
        (EntityDraft(), ["vectors"], "vectors"),
        (EntityDraft(), ["vectors.own"], "vectors.own"),
        (EntityDraft(vectors={"none": NEW}), [], "vectors.none"),
        (EntityDraft(vectors={"own": np.array([0, 0], np.float32)}), [], "vectors.own"),
        (EntityDraft(), ["attributes.title"], "attributes.title"),
        (EntityDraft(), ["text"], "text"),
        (EntityDraft(attributes={"price": "x"}), [], "attributes.price"),
        (EntityDraft(attributes={"text": "x"}), [], "attributes.text"),
        (EntityDraft(text="x" * 70_000), [], "text"),
    ],
)
def test_what_is_refused(draft: EntityDraft, mask: list[str], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        planned(draft, *mask)
    assert caught.value.field == field


def test_a_content_that_no_field_takes() -> None:
    spec = replace(SPEC, vector_fields=SPEC.vector_fields[1:])
    with pytest.raises(InvalidArgumentError) as caught:
        read_change(EntityDraft(content=PHOTO), (), spec)
    assert caught.value.field == "content"
