from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import ConcurrentChangeError
from lookalike_common.ids import entity_id
from lookalike_search.encoding import Content, ContentKind
from lookalike_search.model import (
    CollectionSpec,
    EntityRecord,
    Metric,
    Outcome,
    VectorFieldSpec,
)
from lookalike_search.writing import Decision, EntityDraft, decide, prepare

NOW = datetime(2026, 1, 31, tzinfo=UTC)
SPEC = CollectionSpec(
    id="c",
    uid="u",
    create_time=NOW,
    vector_fields=(
        VectorFieldSpec(
            name="vector",
            dimensions=2,
            metric=Metric.COSINE,
            encoder="encoders/x@1",
            fingerprint="f" * 64,
        ),
    ),
)
ONE = {"vector": np.array([1, 0], np.float32)}
OTHER = {"vector": np.array([0, 1], np.float32)}


def write(text: str, generation: int = 0) -> EntityRecord:
    return EntityRecord(id="e", text=text, generation=generation)


def test_generation_zero_is_later_than_what_is_stored() -> None:
    future = int((NOW + timedelta(days=1)).timestamp()) * 1_000_000
    first = decide(write("a", future), None, NOW).record
    decision = decide(write("b"), first, NOW)
    assert decision.outcome is Outcome.UPDATED
    assert decision.record is not None
    assert decision.record.generation == future + 1


def test_the_clock_is_a_generation_in_microseconds() -> None:
    record = decide(write("a"), None, NOW + timedelta(microseconds=7)).record
    assert record is not None
    assert record.generation == int(NOW.timestamp()) * 1_000_000 + 7


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ab")), max_size=12))
def test_generations_never_go_back_and_repeats_say_the_same(
    writes: list[tuple[int, str]],
) -> None:
    """In any order of any writes; each is repeated at once, as after a lost reply."""
    stored: EntityRecord | None = None
    for step, (generation, text) in enumerate(writes):
        now = NOW + timedelta(seconds=step)
        if stored is not None and generation < stored.generation:
            with pytest.raises(ConcurrentChangeError):
                decide(write(text, generation), stored, now)
            continue
        decision = decide(write(text, generation), stored, now)
        before, stored = stored, decision.record or stored
        assert stored is not None
        assert (stored.generation, stored.text) == (generation, text)
        again = decide(write(text, generation), stored, now + timedelta(minutes=1))
        assert again == replace(decision, record=None)
        if before is None:
            assert decision.outcome is Outcome.CREATED
        elif before.generation < generation:
            changed = before.text != text
            assert decision.outcome is (Outcome.UPDATED if changed else Outcome.UNCHANGED)
            assert stored.create_generation == before.create_generation
            assert stored.create_time == before.create_time
            assert (stored.update_time == before.update_time) is not changed


def test_a_write_that_changes_nothing_renews_where_entities_are_mortal() -> None:
    first = decide(write("a"), None, NOW).record
    later = NOW + timedelta(seconds=9)
    assert first is not None
    assert first.write_time == NOW
    assert decide(write("a"), first, later) == Decision(Outcome.UNCHANGED, None)
    renewed = decide(write("a"), first, later, renew=True)
    assert renewed == Decision(Outcome.UNCHANGED, replace(first, write_time=later))
    repeated = write("a", first.generation)
    assert decide(repeated, first, later, renew=True) == Decision(Outcome.CREATED, None)


def test_names_and_hashes_follow_from_what_is_sent() -> None:
    by_item = prepare(EntityDraft(item="i", vectors=ONE), SPEC).record
    assert by_item.id == entity_id("i", "whole", 0)
    part = prepare(EntityDraft(item="i", segment={"index": 3}, vectors=ONE), SPEC).record
    assert part.id == entity_id("i", "whole", 3)
    anonymous = prepare(EntityDraft(vectors=ONE), SPEC).record
    assert anonymous.item == anonymous.content_hash
    assert prepare(EntityDraft(id="mine", vectors=ONE), SPEC).record.item == "mine"
    assert anonymous.content_hash == by_item.content_hash
    assert prepare(EntityDraft(vectors=OTHER), SPEC).record.content_hash != by_item.content_hash


def test_the_hash_follows_content_and_fingerprint() -> None:
    def hash_of(data: bytes, kind: ContentKind = ContentKind.TEXT, fingerprint: str = "f") -> str:
        [field] = SPEC.vector_fields
        spec = replace(SPEC, vector_fields=(replace(field, fingerprint=fingerprint),))
        write = prepare(EntityDraft(content=Content(kind=kind, data=data)), spec)
        assert [each.field.name for each in write.missing] == ["vector"]
        return write.record.content_hash

    hashes = {
        hash_of(b"a"),
        hash_of(b"b"),
        hash_of(b"a", ContentKind.SMILES),
        hash_of(b"a", fingerprint="g"),
    }
    assert len(hashes) == 4
    assert hash_of(b"a") in hashes
