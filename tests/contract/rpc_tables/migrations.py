"""CollectionService's migrations."""

from __future__ import annotations

from typing import Any, Final

from lookalike.search.v1 import collection_pb2
from lookalike.search.v1 import collection_service_pb2 as pb
from lookalike.search.v1 import entity_service_pb2 as pb_entities
from lookalike_common.errors import Code
from tests.contract.rpc_tables.collections import NONE, PLAIN, TEXTS, upsert
from tests.contract.rpc_tables.encoder import TEXT
from tests.contract.rpc_tables.rows import (
    Answers,
    Outcome,
    Refuses,
    RefusesItem,
    Row,
    invalid,
    mismatch,
    missing,
)
from tests.support.search_client import entity, plain_field

RESTING: Final = "collections/table-resting"
"""Bound to the encoder of texts; a row starts to migrate it."""
LACKING: Final = "collections/table-lacking"
"""Is migrated all the time, and has an entity that its target lacks."""
TARGET: Final = f"{LACKING}-next"
FINISHED: Final = "collections/table-finished"
ABORTED: Final = "collections/table-aborted"
MIGRATING: Final = (LACKING, FINISHED, ABORTED)
"""A migration of each is under way; the last two are empty, and rows end them."""

Collection = collection_pb2.Collection
Migration = collection_pb2.Migration
NOT_READY: Final = Refuses(Code.FAILED_PRECONDITION, "COLLECTION_NOT_READY", "name")
OLD: Final = Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag")


def start(name: str, **fields: Any) -> pb.StartMigrationRequest:
    """Ask to migrate a collection; without a schema to the same encoders."""
    return pb.StartMigrationRequest(name=name, **fields)


def _start(title: str, outcome: Outcome, name: str = TEXTS, **fields: Any) -> Row:
    return Row("CollectionService.StartMigration", title, start(name, **fields), outcome)


def _finish(title: str, outcome: Outcome, name: str, **fields: Any) -> Row:
    request = pb.FinishMigrationRequest(name=name, **fields)
    return Row("CollectionService.FinishMigration", title, request, outcome)


def _abort(title: str, outcome: Outcome, name: str, **fields: Any) -> Row:
    request = pb.AbortMigrationRequest(name=name, **fields)
    return Row("CollectionService.AbortMigration", title, request, outcome)


def _is_migrating(reply: Any) -> bool:  # Any: whatever the rpc replies
    return bool(
        reply.state == Collection.STATE_MIGRATING
        and reply.migration.phase == Migration.PHASE_COPYING
        and reply.migration.target == f"{RESTING}-next"
        and reply.vector_fields[0].encoder == TEXT
    )


ROWS: Final = [
    _start("to the same encoder", Answers(_is_migrating), RESTING),
    _start("no name", invalid("name"), ""),
    _start("a target's id that is none", invalid("target_id"), target_id="Not An Id"),
    _start(
        "to vectors that callers bring",
        invalid("collection.vector_fields[0].encoder"),
        collection=Collection(vector_fields=[plain_field()]),
    ),
    _start(
        "with a description",
        invalid("collection.description"),
        collection=Collection(description="new"),
    ),
    _start("unknown", missing(NONE), NONE),
    _start(
        "to an unknown encoder",
        missing("encoders/none"),
        collection=Collection(vector_fields=[collection_pb2.VectorField(encoder="encoders/none")]),
    ),
    _start(
        "the target's id is taken",
        Refuses(Code.ALREADY_EXISTS, "RESOURCE_EXISTS", "target_id", PLAIN),
        target_id=PLAIN.removeprefix("collections/"),
    ),
    _start("one is under way", NOT_READY, LACKING),
    _start(
        "of vectors that callers bring",
        Refuses(Code.FAILED_PRECONDITION, "ENCODER_MISMATCH", "name"),
        PLAIN,
    ),
    _start("an old etag", OLD, etag="old"),
    _finish(
        "nothing to copy",
        Answers(lambda reply: reply.migration.phase == Migration.PHASE_FLIPPED),
        FINISHED,
    ),
    _finish("unknown", missing(NONE), NONE),
    _finish("none is under way", NOT_READY, TEXTS),
    _finish("the target lacks an entity", NOT_READY, LACKING),
    _finish("an old etag", OLD, LACKING, etag="old"),
    _finish("by the target's name", invalid("name"), TARGET),
    _abort(
        "before the flip",
        Answers(lambda reply: reply.state == Collection.STATE_READY),
        ABORTED,
    ),
    _abort("unknown", missing(NONE), NONE),
    _abort("none is under way", NOT_READY, TEXTS),
    _abort("an old etag", OLD, LACKING, etag="old"),
    Row(
        "EntityService.UpsertEntities",
        "to a target, what the collection has not",
        upsert(
            f"{LACKING}-next", entity(f"{LACKING}-next", "none", text_content="a", generation=1)
        ),
        RefusesItem("CONCURRENT_CHANGE", "entities[0].name", code=Code.ABORTED),
    ),
    Row(
        "EntityService.UpsertEntities",
        "to a target, without a generation",
        upsert(TARGET, entity(TARGET, "one", text_content="a")),
        RefusesItem("INVALID_FIELD", "entities[0].generation"),
    ),
    Row(
        "EntityService.UpsertEntities",
        "vectors of another encoder",
        pb_entities.UpsertEntitiesRequest(
            collection=TEXTS,
            entities=[entity(TEXTS, "other", text_content="a")],
            encoder_fingerprints={"vector": "0" * 64},
        ),
        mismatch("encoder_fingerprints.vector"),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "a migration's target",
        pb.DeleteCollectionRequest(name=TARGET),
        NOT_READY,
    ),
]
