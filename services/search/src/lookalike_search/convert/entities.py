"""`EntityService`'s messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from lookalike.search.v1 import entity_pb2, entity_service_pb2
from lookalike.type.v1 import outcome_pb2, vector_pb2
from lookalike_common.errors import InvalidArgumentError, LookalikeError
from lookalike_common.ids import parse_name
from lookalike_common.status import to_status
from lookalike_search.commands.entities import ItemSelector
from lookalike_search.commands.streams import BatchAnswer
from lookalike_search.convert.values import (
    from_content,
    from_segment,
    from_struct,
    put_struct,
    put_timestamp,
    to_segment,
)
from lookalike_search.convert.vectors import from_vector, to_vector
from lookalike_search.model import EntityRecord, Outcome
from lookalike_search.queries import format_consistency_token
from lookalike_search.writing import EntityDraft, WriteReport, Written

_ASSET: Final = "assets/"
_OUTCOMES: Final[Mapping[Outcome, outcome_pb2.Outcome.ValueType]] = {
    Outcome.CREATED: outcome_pb2.OUTCOME_CREATED,
    Outcome.UPDATED: outcome_pb2.OUTCOME_UPDATED,
    Outcome.UNCHANGED: outcome_pb2.OUTCOME_UNCHANGED,
}


def collection_id_of(name: str, field: str = "collection") -> str:
    """Return the id in `collections/{collection}`."""
    return parse_name(name, "collections", field=field)[0]


def entity_ids_of(names: Iterable[str], collection_id: str, field: str) -> list[str]:
    """Return the ids in names of entities, all of one collection."""
    return [_own_id(name, collection_id, f"{field}[{index}]") for index, name in enumerate(names)]


def entity_name(collection_id: str, entity_id: str) -> str:
    """Return `collections/{collection}/entities/{entity}`."""
    return f"collections/{collection_id}/entities/{entity_id}"


def from_entities(
    messages: Sequence[entity_pb2.Entity],
    collection_id: str,
    check: Callable[[entity_pb2.Entity], None],
) -> list[EntityDraft | LookalikeError]:
    """Return what is to be written; an entity that is bad, or fails `check`, is an error."""
    return [_try_from_entity(each, collection_id, check) for each in messages]


def from_update(
    request: entity_service_pb2.UpdateEntityRequest,
) -> tuple[str, EntityDraft, list[str]]:
    """Return the collection's id, the new values, and the paths of what is changed."""
    collection_id, _ = parse_name(request.entity.name, "collections", "entities")
    draft = _from_entity(request.entity, collection_id)
    return collection_id, draft, list(request.update_mask.paths)


def to_stream_response(answer: BatchAnswer) -> entity_service_pb2.UpsertEntitiesResponse:
    """Return what became of one batch of a stream."""
    message = to_upsert_response(answer.report, answer.collection_id)
    if answer.backoff:
        message.backoff.FromTimedelta(answer.backoff)
    return message


@contextmanager
def errors_in_entity() -> Iterator[None]:
    """Raise errors about fields of the entity at `entity`, where the request has it."""
    try:
        yield
    except LookalikeError as error:
        if error.field in {"", "update_mask"}:
            raise
        raise error.at("entity") from error


def to_upsert_response(
    report: WriteReport, collection_id: str
) -> entity_service_pb2.UpsertEntitiesResponse:
    """Return what became of the entities; errors are at `entities[i]`."""
    return entity_service_pb2.UpsertEntitiesResponse(
        results=[
            _to_result(each, collection_id, index) for index, each in enumerate(report.results)
        ],
        consistency_token=format_consistency_token(report.position),
    )


def to_entity(
    record: EntityRecord, collection_id: str, vector_format: vector_pb2.VectorFormat.ValueType
) -> entity_pb2.Entity:
    """Return an entity under the name of the collection that the caller used."""
    message = entity_pb2.Entity()
    put_entity(record, collection_id, vector_format, message)
    return message


def put_entity(
    record: EntityRecord,
    collection_id: str,
    vector_format: vector_pb2.VectorFormat.ValueType,
    into: entity_pb2.Entity,
) -> None:
    """Fill in an empty entity, in its place: every hit has one, and copies cost."""
    into.name = entity_name(collection_id, record.id)
    into.item = record.item
    into.content_hash = record.content_hash
    into.generation = record.generation
    if record.text:
        into.text = record.text
    if record.asset:
        into.asset = _ASSET + record.asset
    if record.source_uri:
        into.source_uri = record.source_uri
    for name, vector in record.vectors.items():
        into.vectors[name].CopyFrom(to_vector(vector, vector_format))
    if record.attributes:
        put_struct(record.attributes, into.attributes)
    if record.segment:
        into.segment.CopyFrom(to_segment(record.segment))
    if record.create_time is not None:
        put_timestamp(record.create_time, into.create_time)
    if record.update_time is not None:
        put_timestamp(record.update_time, into.update_time)


def to_batch_response(
    found: Iterable[EntityRecord | LookalikeError],
    collection_id: str,
    vector_format: vector_pb2.VectorFormat.ValueType,
) -> entity_service_pb2.BatchGetEntitiesResponse:
    """Return entities, and why some are not there."""
    return entity_service_pb2.BatchGetEntitiesResponse(
        results=[
            entity_service_pb2.EntityResult(error=to_status(each))
            if isinstance(each, LookalikeError)
            else entity_service_pb2.EntityResult(
                entity=to_entity(each, collection_id, vector_format)
            )
            for each in found
        ]
    )


def from_selectors(
    messages: Sequence[entity_service_pb2.ItemSelector], collection_id: str
) -> list[ItemSelector]:
    """Return which items are meant."""
    return [
        ItemSelector(
            item=each.item,
            before_generation=each.before_generation,
            keep=frozenset(entity_ids_of(each.keep, collection_id, f"items[{index}].keep")),
        )
        for index, each in enumerate(messages)
    ]


def _own_id(name: str, collection_id: str, field: str) -> str:
    home, entity_id = parse_name(name, "collections", "entities", field=field)
    if home != collection_id:
        raise InvalidArgumentError(f"is not of collections/{collection_id}", field=field)
    return entity_id


def _try_from_entity(
    message: entity_pb2.Entity, collection_id: str, check: Callable[[entity_pb2.Entity], None]
) -> EntityDraft | LookalikeError:
    try:
        check(message)
        return _from_entity(message, collection_id)
    except LookalikeError as error:
        return error


def _from_entity(message: entity_pb2.Entity, collection_id: str) -> EntityDraft:
    return EntityDraft(
        id=_own_id(message.name, collection_id, "name") if message.name else "",
        item=message.item,
        asset=(message.asset or message.content.asset).removeprefix(_ASSET),
        segment=from_segment(message.segment) if message.HasField("segment") else {},
        text=message.text,
        attributes=from_struct(message.attributes),
        vectors={
            name: from_vector(vector, f"vectors.{name[:80]}")
            for name, vector in message.vectors.items()
        },
        content=from_content(message.content, "content") if message.HasField("content") else None,
        content_hash=message.content_hash,
        generation=message.generation,
        source_uri=message.source_uri,
    )


def _to_result(
    result: Written | LookalikeError, collection_id: str, index: int
) -> entity_service_pb2.UpsertResult:
    if isinstance(result, LookalikeError):
        return entity_service_pb2.UpsertResult(error=to_status(result.at(f"entities[{index}]")))
    return entity_service_pb2.UpsertResult(
        entity=entity_service_pb2.UpsertedEntity(
            name=entity_name(collection_id, result.id), outcome=_OUTCOMES[result.outcome]
        )
    )
