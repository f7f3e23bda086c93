"""CollectionService and EntityService."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from google.protobuf.duration_pb2 import Duration

from lookalike.search.v1 import collection_pb2, collection_service_pb2, entity_pb2
from lookalike.search.v1 import entity_service_pb2 as pb
from lookalike.type.v1 import content_pb2, outcome_pb2, vector_pb2
from lookalike_common.errors import Code
from tests.contract.rpc_tables.encoder import IMAGE, TEXT, bomb, photo
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
from tests.support.search_client import Attribute, bits_field, dense, entity, plain_field

PHOTOS: Final = "collections/table-photos"
"""Bound to the encoder of pictures; jobs write into it."""
TEXTS: Final = "collections/table-texts"
"""Bound to the encoder of texts; holds `cat` and `car`."""
PLAIN: Final = "collections/table-plain"
"""Vectors of three dimensions, `e0` to `e5`, which rows leave as they are."""
WRITTEN: Final = "collections/table-written"
"""As PLAIN; rows write and delete in it."""
WORDS: Final = "collections/table-words"
"""Holds `fox` and `dog`, with words in the text and in the attribute `title`."""
DOOMED: Final = "collections/table-doomed"
RELEASED: Final = "collections/table-released"
"""Not in memory."""
NONE: Final = "collections/none"
KEPT_ALIAS: Final = "aliases/table-kept"
"""Stands for PLAIN."""
MOVED_ALIAS: Final = "aliases/table-moved"
DOOMED_ALIAS: Final = "aliases/table-doomed-alias"

VectorField = collection_pb2.VectorField
Content = content_pb2.Content
KEY: Final = Attribute(name="key", type=Attribute.TYPE_STRING, filterable=True)
NAN: Final = vector_pb2.Vector(
    dense=vector_pb2.DenseVector(data=np.array([1, math.nan, 0], "<f4").tobytes())
)


def words_entities() -> list[entity_pb2.Entity]:
    """Return what WORDS holds."""
    texts = {"fox": "a fox in the garden", "dog": "a dog in the garden"}
    return [
        entity(WORDS, each, *(1, n, 0), text=text, attributes={"title": f"The {each}"})
        for n, (each, text) in enumerate(texts.items())
    ]


def plain_entities(collection: str) -> list[entity_pb2.Entity]:
    """Return what PLAIN and WRITTEN hold."""
    return [
        entity(
            collection,
            f"e{number}",
            *(1, number, 0),
            item=f"item{number // 2}",
            attributes={"price": number, "color": "red" if number % 2 else "blue"},
        )
        for number in range(6)
    ]


def create(
    collection_id: str, *fields: VectorField, **rest: Any
) -> collection_service_pb2.CreateCollectionRequest:
    return collection_service_pb2.CreateCollectionRequest(
        collection_id=collection_id,
        collection=collection_pb2.Collection(vector_fields=fields, **rest),
    )


def _creation(name: str, outcome: Outcome, *fields: VectorField, **rest: Any) -> Row:
    return Row(
        "CollectionService.CreateCollection", name, create("t-new", *fields, **rest), outcome
    )


CREATE_WORDS: Final = create(
    "table-words",
    plain_field(),
    attributes=[Attribute(name="title", type=Attribute.TYPE_STRING, full_text=True)],
    text_index=collection_pb2.TextIndex(),
)

CREATE: Final = [
    _creation(
        "an analyzer that the backend lacks",
        Refuses(
            Code.FAILED_PRECONDITION, "UNSUPPORTED_BY_BACKEND", "collection.text_index.analyzer"
        ),
        plain_field(),
        text_index=collection_pb2.TextIndex(analyzer="english"),
    ),
    _creation(
        "more indexes than the backend has",
        Refuses(
            Code.FAILED_PRECONDITION,
            "UNSUPPORTED_BY_BACKEND",
            "collection.attributes[7].full_text",
        ),
        plain_field(),
        attributes=[
            Attribute(name=f"a{n}", type=Attribute.TYPE_STRING, full_text=True) for n in range(8)
        ],
    ),
    _creation(
        "words of numbers",
        invalid("collection.attributes[0].full_text"),
        plain_field(),
        attributes=[Attribute(name="a", type=Attribute.TYPE_INT, full_text=True)],
    ),
    _creation(
        "an analyzer without words",
        invalid("collection.attributes[0].analyzer"),
        plain_field(),
        attributes=[Attribute(name="a", type=Attribute.TYPE_STRING, analyzer="standard")],
    ),
    Row(
        "CollectionService.CreateCollection",
        "bound to an encoder",
        create("table-bound", VectorField(encoder=IMAGE.removesuffix("@1"))),
        Answers(
            lambda reply: (
                (reply.vector_fields[0].encoder, reply.vector_fields[0].dimensions) == (IMAGE, 1280)
                and len(reply.vector_fields[0].encoder_fingerprint) == 64
                and reply.state == collection_pb2.Collection.STATE_READY
            )
        ),
    ),
    Row(
        "CollectionService.CreateCollection",
        "the id is taken",
        create("table-plain", plain_field()),
        Refuses(Code.ALREADY_EXISTS, "RESOURCE_EXISTS", "collection_id", PLAIN),
    ),
    Row(
        "CollectionService.CreateCollection",
        "an id that is none",
        create("Not An Id", plain_field()),
        invalid("collection_id"),
    ),
    _creation("unknown encoder", missing("encoders/none"), VectorField(encoder="encoders/none")),
    _creation(
        "the encoder has other dimensions",
        mismatch("collection.vector_fields[0].dimensions"),
        VectorField(encoder=TEXT, dimensions=7),
    ),
    _creation("no vector field", invalid("")),
    _creation(
        "neither encoder nor dimensions",
        invalid("collection.vector_fields[0]"),
        VectorField(name="v"),
    ),
    _creation(
        "a type of attributes that is none",
        invalid("collection.attributes[0].type"),
        plain_field(),
        attributes=[Attribute(name="a")],
    ),
    _creation(
        "sparse vectors",
        Refuses(
            Code.FAILED_PRECONDITION,
            "UNSUPPORTED_BY_BACKEND",
            "collection.vector_fields[0].vector_kind",
        ),
        VectorField(
            dimensions=64,
            vector_kind=vector_pb2.VECTOR_KIND_SPARSE,
            metric=vector_pb2.METRIC_INNER_PRODUCT,
        ),
    ),
    *(
        Row(
            "CollectionService.CreateCollection",
            f"bits of {name}",
            create(f"table-{name}", VectorField(encoder=f"encoders/{name}@1")),
            Answers(
                lambda reply: (
                    reply.vector_fields[0].vector_kind == vector_pb2.VECTOR_KIND_BINARY
                    and reply.vector_fields[0].metric
                    in {vector_pb2.METRIC_TANIMOTO, vector_pb2.METRIC_HAMMING}
                )
            ),
        )
        for name in ("morgan-2048", "phash-256")
    ),
    _creation(
        "bits by cosine",
        invalid("collection.vector_fields[0].metric"),
        bits_field(vector_pb2.METRIC_COSINE),
    ),
    Row(
        "CollectionService.CreateCollection",
        "a partition key",
        create("table-parted", plain_field(), attributes=[KEY], partition_key="key"),
        Answers(lambda reply: reply.partition_key == "key"),
    ),
    *(
        _creation(
            f"a partition key that {what}",
            invalid("collection.partition_key"),
            plain_field(),
            attributes=attributes,
            partition_key="key",
        )
        for what, attributes in {
            "is not declared": [],
            "may be missing": [
                Attribute(name="key", type=Attribute.TYPE_INT, filterable=True, nullable=True)
            ],
            "has no column": [Attribute(name="key", type=Attribute.TYPE_STRING)],
            "is a double": [Attribute(name="key", type=Attribute.TYPE_DOUBLE, filterable=True)],
        }.items()
    ),
    _creation("no time to live", invalid("collection.ttl"), plain_field(), ttl=Duration(seconds=0)),
    _creation(
        "less than a second to live",
        invalid("collection.ttl"),
        plain_field(),
        ttl=Duration(nanos=999_999_999),
    ),
    Row(
        "CollectionService.CreateCollection",
        "the longest time to live",
        create("table-mortal", plain_field(), ttl=Duration(seconds=36_500 * 86_400)),
        Answers(lambda reply: reply.ttl.seconds == 36_500 * 86_400),
    ),
    _creation(
        "a longer time to live",
        invalid("collection.ttl"),
        plain_field(),
        ttl=Duration(seconds=36_500 * 86_400 + 1),
    ),
    Row(
        "CollectionService.CreateCollection",
        "an attribute to encode",
        create(
            "table-titles",
            VectorField(encoder=TEXT, source_attribute="title"),
            attributes=[Attribute(name="title", type=Attribute.TYPE_STRING)],
        ),
        Answers(lambda reply: reply.vector_fields[0].source_attribute == "title"),
    ),
    _creation(
        "an attribute to encode that is not declared",
        invalid("collection.vector_fields[0].source_attribute"),
        VectorField(encoder=TEXT, source_attribute="title"),
    ),
    _creation(
        "an attribute to encode that is a number",
        invalid("collection.vector_fields[0].source_attribute"),
        VectorField(encoder=TEXT, source_attribute="title"),
        attributes=[Attribute(name="title", type=Attribute.TYPE_INT)],
    ),
    Row(
        "CollectionService.CreateCollection",
        "a molecule in an attribute to encode",
        create(
            "table-smiles",
            VectorField(encoder="encoders/morgan-2048", source_attribute="smiles"),
            attributes=[Attribute(name="smiles", type=Attribute.TYPE_STRING)],
        ),
        Answers(lambda reply: reply.vector_fields[0].source_attribute == "smiles"),
    ),
    _creation(
        "a text to encode by an encoder of pictures",
        invalid("collection.vector_fields[0].encoder", "WRONG_MODALITY"),
        VectorField(encoder=IMAGE, source_attribute="text"),
    ),
    _creation(
        "a text to encode without an encoder",
        invalid("collection.vector_fields[0].source_attribute"),
        VectorField(dimensions=3, metric=vector_pb2.METRIC_COSINE, source_attribute="text"),
    ),
]

COLLECTIONS: Final = [
    Row(
        "CollectionService.GetCollection",
        "with entities",
        collection_service_pb2.GetCollectionRequest(name=PLAIN),
        Answers(lambda reply: (reply.name, reply.entity_count) == (PLAIN, 6)),
    ),
    Row(
        "CollectionService.GetCollection",
        "unknown",
        collection_service_pb2.GetCollectionRequest(name=NONE),
        missing(NONE),
    ),
    Row(
        "CollectionService.GetCollection",
        "no name",
        collection_service_pb2.GetCollectionRequest(),
        invalid("name"),
    ),
    Row(
        "CollectionService.ListCollections",
        "all",
        collection_service_pb2.ListCollectionsRequest(page_size=1000),
        Answers(lambda reply: {PHOTOS, TEXTS, PLAIN} <= {each.name for each in reply.collections}),
    ),
    Row(
        "CollectionService.ListCollections",
        "a damaged page token",
        collection_service_pb2.ListCollectionsRequest(page_token="nonsense"),
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "known",
        collection_service_pb2.DeleteCollectionRequest(name=DOOMED),
        Answers(lambda reply: reply.ByteSize() == 0),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "unknown",
        collection_service_pb2.DeleteCollectionRequest(name=NONE),
        missing(NONE),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "an old etag",
        collection_service_pb2.DeleteCollectionRequest(name=PLAIN, etag="old"),
        Refuses(Code.ABORTED, "ETAG_MISMATCH", "etag"),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "an alias",
        collection_service_pb2.DeleteCollectionRequest(name="collections/table-kept"),
        missing("collections/table-kept"),
    ),
    Row(
        "CollectionService.DeleteCollection",
        "with aliases",
        collection_service_pb2.DeleteCollectionRequest(name=PLAIN),
        Refuses(Code.FAILED_PRECONDITION, "COLLECTION_NOT_READY", "name"),
    ),
]


def upsert(collection: str, *entities: entity_pb2.Entity) -> pb.UpsertEntitiesRequest:
    return pb.UpsertEntitiesRequest(collection=collection, entities=entities)


def _refused_vector(name: str, vector: vector_pb2.Vector, outcome: Outcome) -> Row:
    written = entity(WRITTEN, "bad")
    written.vectors["vector"].CopyFrom(vector)
    return Row("EntityService.UpsertEntities", name, upsert(WRITTEN, written), outcome)


def _refused_content(name: str, content: Content, reason: str) -> Row:
    written = entity_pb2.Entity(item="bad", content=content)
    return Row(
        "EntityService.UpsertEntities",
        name,
        upsert(PHOTOS, written),
        RefusesItem(reason, "entities[0].content"),
    )


UPSERT: Final = [
    Row(
        "EntityService.UpsertEntities",
        "vectors",
        upsert(WRITTEN, entity(WRITTEN, "new", 1, 2, 3, attributes={"price": 7})),
        Answers(
            lambda reply: (
                reply.results[0].entity.name == f"{WRITTEN}/entities/new"
                and reply.results[0].entity.outcome == outcome_pb2.OUTCOME_CREATED
                and reply.consistency_token
            )
        ),
    ),
    Row(
        "EntityService.UpsertEntities",
        "the same again",
        upsert(PLAIN, plain_entities(PLAIN)[0]),
        Answers(lambda reply: reply.results[0].entity.outcome == outcome_pb2.OUTCOME_UNCHANGED),
    ),
    Row(
        "EntityService.UpsertEntities",
        "unknown collection",
        upsert(NONE, entity(NONE, "e", 1, 0, 0)),
        missing(NONE),
    ),
    Row("EntityService.UpsertEntities", "none", upsert(WRITTEN), invalid("entities")),
    Row(
        "EntityService.UpsertEntities",
        "too many",
        upsert(WRITTEN, *[entity_pb2.Entity()] * 1001),
        invalid("entities"),
    ),
    _refused_vector(
        "wrong dimension",
        dense(1, 2),
        RefusesItem(
            "ENCODER_MISMATCH", "entities[0].vectors.vector", code=Code.FAILED_PRECONDITION
        ),
    ),
    _refused_vector("NaN", NAN, RefusesItem("INVALID_FIELD", "entities[0].vectors.vector")),
    _refused_vector(
        "a zero vector", dense(0, 0, 0), RefusesItem("INVALID_FIELD", "entities[0].vectors.vector")
    ),
    _refused_content("not an image", Content(image=b"no picture"), "UNSUPPORTED_MEDIA"),
    _refused_content("a truncated image", Content(image=photo()[:-500]), "INVALID_CONTENT"),
    _refused_content("a bomb", Content(image=bomb()), "LIMIT_EXCEEDED"),
    _refused_content("a text among pictures", Content(text="a"), "WRONG_MODALITY"),
    Row(
        "EntityService.UpsertEntities",
        "0 bytes",
        upsert(PHOTOS, entity_pb2.Entity(item="bad", content=Content(image=b""))),
        RefusesItem("INVALID_FIELD", "entities[0].content.image"),
    ),
    Row(
        "EntityService.UpsertEntities",
        "an attribute of another type",
        upsert(WRITTEN, entity(WRITTEN, "bad", 1, 0, 0, attributes={"price": "cheap"})),
        RefusesItem("INVALID_FIELD", "entities[0].attributes.price"),
    ),
    Row(
        "EntityService.UpsertEntities",
        "content without an encoder",
        upsert(WRITTEN, entity(WRITTEN, "bad", text_content="a")),
        RefusesItem("INVALID_FIELD", "entities[0].vectors.vector"),
    ),
]

ROWS: Final = [*CREATE, *COLLECTIONS, *UPSERT]
