"""EntityService: what reads, updates and deletes."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import entity_service_pb2 as pb
from lookalike_common.errors import Code
from tests.contract.rpc_tables.collections import NONE, PLAIN, WRITTEN
from tests.contract.rpc_tables.rows import (
    Answers,
    Refuses,
    RefusesItem,
    Row,
    World,
    invalid,
    missing,
)
from tests.support.search_client import entity

FIRST_PAGE: Final = pb.ListEntitiesRequest(collection=PLAIN, page_size=2)
FILTER: Final = 'color = "red" AND price < 5'


def names(collection: str, *ids: str) -> list[str]:
    return [f"{collection}/entities/{each}" for each in ids]


def another_page(world: World) -> pb.ListEntitiesRequest:
    token = world.tokens["ListEntities"]
    return pb.ListEntitiesRequest(collection=PLAIN, page_size=2, page_token=token)


def page_of_another_filter(world: World) -> pb.ListEntitiesRequest:
    request = another_page(world)
    request.filter = "price > 1"
    return request


def page_of_another_rpc(world: World) -> pb.ListEntitiesRequest:
    request = another_page(world)
    request.page_token = world.tokens["Search"]
    return request


def _ids_are(*expected: str) -> Answers:
    return Answers(
        lambda reply: [each.name.rpartition("/")[2] for each in reply.entities] == list(expected)
    )


READ: Final = [
    Row(
        "EntityService.GetEntity",
        "known",
        pb.GetEntityRequest(name=f"{PLAIN}/entities/e1"),
        Answers(lambda reply: (reply.item, reply.attributes["price"]) == ("item0", 1)),
    ),
    Row(
        "EntityService.GetEntity",
        "unknown",
        pb.GetEntityRequest(name=f"{PLAIN}/entities/none"),
        missing(f"{PLAIN}/entities/none"),
    ),
    Row(
        "EntityService.GetEntity",
        "unknown collection",
        pb.GetEntityRequest(name=f"{NONE}/entities/e"),
        missing(NONE),
    ),
    Row("EntityService.GetEntity", "no name", pb.GetEntityRequest(name=PLAIN), invalid("name")),
    Row(
        "EntityService.GetEntity",
        "unknown output field",
        pb.GetEntityRequest(name=f"{PLAIN}/entities/e1", output_fields=["item", "secrets"]),
        invalid("output_fields[1]"),
    ),
    Row(
        "EntityService.BatchGetEntities",
        "in their order",
        pb.BatchGetEntitiesRequest(collection=PLAIN, names=names(PLAIN, "e3", "e1")),
        Answers(
            lambda reply: [each.entity.name for each in reply.results] == names(PLAIN, "e3", "e1")
        ),
    ),
    Row(
        "EntityService.BatchGetEntities",
        "one is missing",
        pb.BatchGetEntitiesRequest(collection=PLAIN, names=names(PLAIN, "e3", "none")),
        RefusesItem("RESOURCE_NOT_FOUND", "", code=Code.NOT_FOUND, index=1),
    ),
    Row(
        "EntityService.BatchGetEntities",
        "of another collection",
        pb.BatchGetEntitiesRequest(collection=PLAIN, names=names(WRITTEN, "e3")),
        invalid("names[0]"),
    ),
    Row(
        "EntityService.BatchGetEntities",
        "unknown collection",
        pb.BatchGetEntitiesRequest(collection=NONE, names=names(NONE, "e3")),
        missing(NONE),
    ),
]

LIST: Final = [
    Row("EntityService.ListEntities", "the first page", FIRST_PAGE, _ids_are("e0", "e1")),
    Row("EntityService.ListEntities", "the second page", another_page, _ids_are("e2", "e3")),
    Row(
        "EntityService.ListEntities",
        "filtered",
        pb.ListEntitiesRequest(collection=PLAIN, filter=FILTER),
        _ids_are("e1", "e3"),
    ),
    Row(
        "EntityService.ListEntities",
        "page token of another filter",
        page_of_another_filter,
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    Row(
        "EntityService.ListEntities",
        "page token of another rpc",
        page_of_another_rpc,
        invalid("page_token", "INVALID_PAGE_TOKEN"),
    ),
    Row(
        "EntityService.ListEntities",
        "unknown collection",
        pb.ListEntitiesRequest(collection=NONE),
        missing(NONE),
    ),
    Row(
        "EntityService.ListEntities",
        "too large a page",
        pb.ListEntitiesRequest(collection=PLAIN, page_size=1001),
        invalid("page_size"),
    ),
]


def _count(name: str, filter_text: str, outcome: Answers | Refuses) -> Row:
    request = pb.CountEntitiesRequest(collection=PLAIN, filter=filter_text)
    return Row("EntityService.CountEntities", name, request, outcome)


BAD_FILTER: Final = invalid("filter", "INVALID_FILTER")

COUNT: Final = [
    _count("all", "", Answers(lambda reply: reply.count == 6)),
    _count("filtered", FILTER, Answers(lambda reply: reply.count == 2)),
    _count("an untyped attribute is nobody's", "size = 5", Answers(lambda reply: reply.count == 0)),
    _count("a key below a number", "price.x = 5", BAD_FILTER),
    _count("another type", 'price = "cheap"', BAD_FILTER),
    _count("an unbalanced parenthesis", "(price > 1", BAD_FILTER),
    _count("half a comparison", "price >", BAD_FILTER),
    _count("a quotation that does not end", 'color = "red', BAD_FILTER),
    Row(
        "EntityService.CountEntities",
        "unknown collection",
        pb.CountEntitiesRequest(collection=NONE),
        missing(NONE),
    ),
]


def _delete(name: str, outcome: Answers | Refuses, **selection: Any) -> Row:
    request = pb.DeleteEntitiesRequest(collection=WRITTEN, **selection)
    return Row("EntityService.DeleteEntities", name, request, outcome)


DELETE: Final = [
    _delete(
        "by name; a missing one does not count",
        Answers(lambda reply: reply.count == 1),
        names=names(WRITTEN, "e0", "none"),
    ),
    _delete(
        "by item",
        Answers(lambda reply: reply.count == 2),
        items=[pb.ItemSelector(item="item2")],
    ),
    _delete(
        "by filter, counting only",
        Answers(lambda reply: reply.count == 1),
        filter="price = 3",
        validate_only=True,
    ),
    _delete("no selection", invalid("")),
    _delete("two selections", invalid(""), names=names(WRITTEN, "e0"), filter="price = 3"),
    _delete("a broken filter", BAD_FILTER, filter="price <"),
    _delete("a name of another collection", invalid("names[0]"), names=names(PLAIN, "e0")),
    Row(
        "EntityService.DeleteEntities",
        "unknown collection",
        pb.DeleteEntitiesRequest(collection=NONE, filter="price = 3"),
        missing(NONE),
    ),
]


def _update(
    name: str, outcome: Answers | Refuses, *mask: str, entity_id: str = "e1", **fields: Any
) -> Row:
    request = pb.UpdateEntityRequest(
        entity=entity(WRITTEN, entity_id, **fields), update_mask=FieldMask(paths=mask)
    )
    return Row("EntityService.UpdateEntity", name, request, outcome)


UPDATE: Final = [
    _update(
        "one attribute",
        Answers(
            lambda reply: (reply.attributes["price"], reply.attributes["color"]) == (50, "red")
        ),
        attributes={"price": 50},
    ),
    _update("another field", invalid("update_mask"), "item", item="other"),
    _update(
        "an attribute of another type",
        invalid("entity.attributes.price"),
        attributes={"price": "cheap"},
    ),
    _update(
        "another generation",
        Refuses(Code.ABORTED, "CONCURRENT_CHANGE", "entity.generation"),
        attributes={"price": 50},
        generation=7,
    ),
    _update("a content that nothing encodes", invalid("entity.content"), text_content="abc"),
    _update("unknown", missing(f"{WRITTEN}/entities/none"), entity_id="none", text="a"),
    Row(
        "EntityService.UpdateEntity",
        "unknown collection",
        pb.UpdateEntityRequest(entity=entity(NONE, "e", text="a")),
        missing(NONE),
    ),
    Row(
        "EntityService.UpdateEntity",
        "no name",
        pb.UpdateEntityRequest(entity=entity(NONE, text="a")),
        invalid("entity.name"),
    ),
    Row("EntityService.UpdateEntity", "no entity", pb.UpdateEntityRequest(), invalid("entity")),
]

STREAM: Final = [
    Row(
        "EntityService.StreamUpsertEntities",
        "two batches, of which only the first one names the collection",
        [
            pb.UpsertEntitiesRequest(collection=WRITTEN, entities=[entity(WRITTEN, "s1", 1, 0, 0)]),
            pb.UpsertEntitiesRequest(entities=[entity(WRITTEN, "s2", 1, 0, 0)]),
        ],
        Answers(
            lambda replies: (
                [each.results[0].entity.name for each in replies] == names(WRITTEN, "s1", "s2")
            )
        ),
    ),
    Row(
        "EntityService.StreamUpsertEntities",
        "a bad entity fails alone",
        [
            pb.UpsertEntitiesRequest(
                collection=WRITTEN,
                entities=[entity(WRITTEN, "s1", 1, 0), entity(WRITTEN, "s3", 1, 0, 0)],
            )
        ],
        Answers(
            lambda replies: (
                [each.WhichOneof("result") for each in replies[0].results] == ["error", "entity"]
            )
        ),
    ),
    Row(
        "EntityService.StreamUpsertEntities",
        "no collection in the first batch",
        [pb.UpsertEntitiesRequest(entities=[entity(WRITTEN, "s1", 1, 0, 0)])],
        invalid("collection"),
    ),
    Row(
        "EntityService.StreamUpsertEntities",
        "a batch of nothing",
        [pb.UpsertEntitiesRequest(collection=WRITTEN)],
        invalid("entities"),
    ),
    Row(
        "EntityService.StreamUpsertEntities",
        "unknown collection",
        [pb.UpsertEntitiesRequest(collection=NONE, entities=[entity(NONE, "e", 1, 0, 0)])],
        missing(NONE),
    ),
    Row(
        "EntityService.StreamUpsertEntities",
        "an entity of another collection",
        [pb.UpsertEntitiesRequest(collection=WRITTEN, entities=[entity(NONE, "e", 1, 0, 0)])],
        Answers(lambda replies: replies[0].results[0].error.code == Code.INVALID_ARGUMENT),
    ),
]

ROWS: Final = [*READ, *LIST, *COUNT, *DELETE, *UPDATE, *STREAM]
