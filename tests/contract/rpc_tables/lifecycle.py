"""CollectionService: what changes collections that are there, and their aliases."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import collection_pb2, collection_service_pb2
from lookalike.search.v1 import entity_service_pb2 as pb
from lookalike_common.errors import Code
from tests.contract.rpc_tables.collections import (
    DOOMED_ALIAS,
    KEPT_ALIAS,
    MOVED_ALIAS,
    NONE,
    PLAIN,
    RELEASED,
    TEXTS,
    WRITTEN,
    create,
)
from tests.contract.rpc_tables.rows import Answers, Outcome, Refuses, Row, invalid, missing
from tests.support.search_client import Attribute, entity, plain_field


def _update(title: str, outcome: Outcome, *paths: str, **fields: Any) -> Row:
    request = collection_service_pb2.UpdateCollectionRequest(
        collection=collection_pb2.Collection(**{"name": WRITTEN, **fields}),
        update_mask=FieldMask(paths=paths),
    )
    return Row("CollectionService.UpdateCollection", title, request, outcome)


UPDATE: Final = [
    _update(
        "a description",
        Answers(
            lambda reply: (
                (reply.name, reply.description) == (WRITTEN, "new") and len(reply.attributes) > 0
            )
        ),
        "description",
        description="new",
    ),
    _update("unknown", missing(NONE), "description", name=NONE),
    _update("no name", invalid("collection.name"), "description", name=""),
    _update("no mask", invalid("update_mask")),
    _update("what cannot be changed", invalid("update_mask"), "vector_fields"),
    _update(
        "an old etag",
        Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag"),
        "description",
        etag="old",
    ),
    _update("no time to live", invalid("collection.ttl"), "ttl", ttl=Duration(nanos=1)),
    _update("attributes removed", invalid("collection.attributes"), "attributes"),
    _update(
        "a required attribute",
        invalid("collection.attributes[0].nullable"),
        "attributes",
        attributes=[Attribute(name="late", type=Attribute.TYPE_INT)],
    ),
    _update(
        "words of an attribute",
        invalid("collection.attributes[0].full_text"),
        "attributes",
        attributes=[
            Attribute(name="late", type=Attribute.TYPE_STRING, nullable=True, full_text=True)
        ],
    ),
    _update(
        "a label without a key",
        invalid("collection.labels", "LIMIT_EXCEEDED"),
        "labels",
        labels={"": "x"},
    ),
]


def _lifecycle(rpc: str, title: str, outcome: Outcome, name: str, **fields: str) -> Row:
    request = getattr(collection_service_pb2, f"{rpc}Request")(name=name, **fields)
    return Row(f"CollectionService.{rpc}", title, request, outcome)


_READY = Answers(lambda reply: reply.state == collection_pb2.Collection.STATE_READY)
_OLD = Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag")
_RELEASED = Refuses(Code.FAILED_PRECONDITION, "COLLECTION_NOT_READY")

LIFECYCLE: Final = [
    _lifecycle("LoadCollection", "loaded already", _READY, WRITTEN),
    _lifecycle("LoadCollection", "unknown", missing(NONE), NONE),
    _lifecycle("LoadCollection", "an old etag", _OLD, PLAIN, etag="old"),
    _lifecycle(
        "ReleaseCollection",
        "known",
        Answers(lambda reply: reply.state == collection_pb2.Collection.STATE_RELEASED),
        RELEASED,
    ),
    _lifecycle("ReleaseCollection", "unknown", missing(NONE), NONE),
    _lifecycle("ReleaseCollection", "an old etag", _OLD, PLAIN, etag="old"),
    _lifecycle(
        "OptimizeCollection",
        "known",
        Answers(lambda reply: reply.vector_fields[0].index.progress == 1.0),
        WRITTEN,
    ),
    _lifecycle("OptimizeCollection", "unknown", missing(NONE), NONE),
    _lifecycle("OptimizeCollection", "released", _RELEASED, RELEASED),
    Row(
        "EntityService.UpsertEntities",
        "into a released collection",
        pb.UpsertEntitiesRequest(collection=RELEASED, entities=[entity(RELEASED, "new", 1, 2, 3)]),
        _RELEASED,
    ),
    Row(
        "EntityService.CountEntities",
        "of a released collection",
        pb.CountEntitiesRequest(collection=RELEASED),
        _RELEASED,
    ),
]


def set_alias(name: str, collection: str, etag: str = "") -> collection_service_pb2.SetAliasRequest:
    return collection_service_pb2.SetAliasRequest(
        alias=collection_pb2.Alias(name=name, collection=collection, etag=etag)
    )


def _alias(name: str, request: collection_service_pb2.SetAliasRequest, outcome: Outcome) -> Row:
    return Row("CollectionService.SetAlias", name, request, outcome)


def _no_alias(title: str, outcome: Outcome, name: str, etag: str = "") -> Row:
    request = collection_service_pb2.DeleteAliasRequest(name=name, etag=etag)
    return Row("CollectionService.DeleteAlias", title, request, outcome)


ALIASES: Final = [
    _alias(
        "a new one",
        set_alias("aliases/table-new", TEXTS),
        Answers(lambda reply: (reply.collection, reply.previous_collection) == (TEXTS, "")),
    ),
    _alias(
        "to another collection",
        set_alias(MOVED_ALIAS, TEXTS),
        Answers(lambda reply: (reply.collection, reply.previous_collection) == (TEXTS, PLAIN)),
    ),
    _alias("to no collection", set_alias(KEPT_ALIAS, NONE), missing(NONE)),
    _alias(
        "the id of a collection",
        set_alias("aliases/table-plain", TEXTS),
        Refuses(Code.ALREADY_EXISTS, "RESOURCE_EXISTS", "alias.name", PLAIN),
    ),
    _alias(
        "an old etag",
        set_alias(KEPT_ALIAS, TEXTS, "old"),
        Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag"),
    ),
    _alias("a name that is none", set_alias("table-new", TEXTS), invalid("alias.name")),
    Row(
        "CollectionService.CreateCollection",
        "the id of an alias",
        create("table-kept", plain_field()),
        Refuses(Code.ALREADY_EXISTS, "RESOURCE_EXISTS", "collection_id"),
    ),
    _no_alias("known", Answers(lambda reply: reply.ByteSize() == 0), name=DOOMED_ALIAS),
    _no_alias("unknown", missing("aliases/none"), name="aliases/none"),
    _no_alias("a collection", missing("aliases/table-plain"), name="aliases/table-plain"),
    _no_alias(
        "an old etag",
        Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag"),
        name=KEPT_ALIAS,
        etag="old",
    ),
    Row(
        "CollectionService.ListAliases",
        "all",
        collection_service_pb2.ListAliasesRequest(),
        Answers(
            lambda reply: (KEPT_ALIAS, PLAIN) in [(a.name, a.collection) for a in reply.aliases]
        ),
    ),
    Row(
        "CollectionService.ListAliases",
        "a damaged page token",
        collection_service_pb2.ListAliasesRequest(page_token="nonsense"),
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
]

ROWS: Final = [*UPDATE, *LIFECYCLE, *ALIASES]
