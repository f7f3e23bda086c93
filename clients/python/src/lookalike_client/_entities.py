"""Calls about entities: writing, reading, counting, changing, deleting."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict

from lookalike.search.v1 import entity_pb2, entity_service_pb2, entity_service_pb2_grpc
from lookalike_client._calls import Caller, pages
from lookalike_client._names import collection_name, entity_name
from lookalike_client._writing import MAX_BATCH, write_in_batches

Attributes = Mapping[str, object]


class EntityCalls:
    """What a client can ask about entities, which are named by collection and id."""

    def __init__(self, call: Caller, channel: grpc.Channel) -> None:
        self._call = call
        self._entities = entity_service_pb2_grpc.EntityServiceStub(channel)

    def upsert(
        self, collection: str, entities: Sequence[entity_pb2.Entity]
    ) -> entity_service_pb2.UpsertEntitiesResponse:
        """Write entities; those that failed carry an error in their place in `results`."""
        request = entity_service_pb2.UpsertEntitiesRequest(
            collection=collection_name(collection), entities=entities
        )
        return self._call.unary(self._entities.UpsertEntities, request)

    def write(
        self,
        collection: str,
        entities: Iterable[entity_pb2.Entity],
        *,
        batch_size: int = MAX_BATCH,
        patience: timedelta = timedelta(minutes=2),
    ) -> Iterator[entity_service_pb2.UpsertResult]:
        """Write any number of entities over a stream; yield one result for each, in order.

        Waits where the server asks for it, and takes a broken stream up again. Gives up with the
        error when nothing was written for longer than `patience`.
        """
        return write_in_batches(
            lambda requests: self._call.bidi_stream(self._entities.StreamUpsertEntities, requests),
            collection_name(collection),
            entities,
            batch_size=batch_size,
            patience=patience,
        )

    def entity(
        self, collection: str, entity: str, *, output_fields: Sequence[str] = ()
    ) -> entity_pb2.Entity:
        """One entity; without its vectors unless `output_fields` has them."""
        request = entity_service_pb2.GetEntityRequest(
            name=entity_name(collection, entity), output_fields=output_fields
        )
        return self._call.unary(self._entities.GetEntity, request)

    def entities(self, collection: str, *, filter_: str = "") -> Iterator[entity_pb2.Entity]:
        """The entities that match the filter, by id; without one, all of them."""

        def page(token: str) -> entity_service_pb2.ListEntitiesResponse:
            request = entity_service_pb2.ListEntitiesRequest(
                collection=collection_name(collection),
                filter=filter_,
                page_size=1000,
                page_token=token,
            )
            return self._call.unary(self._entities.ListEntities, request)

        for reply in pages(page):
            yield from reply.entities

    def count(self, collection: str, *, filter_: str = "") -> int:
        """How many entities match the filter; without one, how many there are."""
        request = entity_service_pb2.CountEntitiesRequest(
            collection=collection_name(collection), filter=filter_
        )
        return self._call.unary(self._entities.CountEntities, request).count

    def update_entity(
        self,
        collection: str,
        entity: str,
        *,
        attributes: Attributes | None = None,
        text: str | None = None,
        generation: int = 0,
    ) -> entity_pb2.Entity:
        """Change single attributes (None removes one) and the text; the rest stays.

        With the generation of an entity that was read, it is changed only if nobody has since.
        """
        changed = entity_pb2.Entity(
            name=entity_name(collection, entity), text=text or "", generation=generation
        )
        if attributes:
            ParseDict(dict(attributes), changed.attributes)
        mask = [f"attributes.{name}" for name in attributes or ()]
        request = entity_service_pb2.UpdateEntityRequest(
            entity=changed, update_mask=FieldMask(paths=mask + ["text"] * (text is not None))
        )
        return self._call.unary(self._entities.UpdateEntity, request)

    def delete_entities(
        self,
        collection: str,
        entities: Sequence[str] = (),
        *,
        items: Sequence[str] = (),
        filter_: str = "",
        only_count: bool = False,
    ) -> int:
        """Delete entities by id, by item or by filter (one of the three); return how many."""
        request = entity_service_pb2.DeleteEntitiesRequest(
            collection=collection_name(collection),
            names=[entity_name(collection, each) for each in entities],
            items=[entity_service_pb2.ItemSelector(item=each) for each in items],
            filter=filter_,
            validate_only=only_count,
        )
        return self._call.unary(self._entities.DeleteEntities, request).count
