"""Calls about collections and their aliases."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    collection_service_pb2_grpc,
)
from lookalike_client._calls import Caller, pages
from lookalike_client._names import (
    DEFAULT_IMAGE_ENCODER,
    alias_name,
    collection_name,
    encoder_name,
)


class CollectionCalls:
    """What a client can ask about collections, which are named by id or full name."""

    def __init__(self, call: Caller, channel: grpc.Channel) -> None:
        self._call = call
        self._collections = collection_service_pb2_grpc.CollectionServiceStub(channel)

    def create_collection(
        self,
        collection: str,
        *,
        encoder: str = DEFAULT_IMAGE_ENCODER,
        description: str = "",
        attributes: Sequence[collection_pb2.AttributeField] = (),
        vector_fields: Sequence[collection_pb2.VectorField] = (),
        text_index: collection_pb2.TextIndex | None = None,
        partition_key: str = "",
        ttl: timedelta | None = None,
    ) -> collection_pb2.Collection:
        """Create a collection, with one vector field of the encoder unless others are given.

        With a text index the entities' texts can be searched by keywords. Filters on the partition
        key, an attribute, are cheap. With a ttl entities expire so long after their last write.
        """
        wanted = collection_pb2.Collection(
            description=description,
            vector_fields=vector_fields
            or [collection_pb2.VectorField(encoder=encoder_name(encoder))],
            attributes=attributes,
            text_index=text_index,
            partition_key=partition_key,
            ttl=_duration(ttl),
        )
        request = collection_service_pb2.CreateCollectionRequest(
            collection_id=collection.removeprefix("collections/"), collection=wanted
        )
        return self._call.unary(self._collections.CreateCollection, request)

    def collection(self, collection: str) -> collection_pb2.Collection:
        """One collection."""
        name = collection_name(collection)
        request = collection_service_pb2.GetCollectionRequest(name=name)
        return self._call.unary(self._collections.GetCollection, request)

    def collections(self) -> Iterator[collection_pb2.Collection]:
        """All collections, by name."""

        def page(token: str) -> collection_service_pb2.ListCollectionsResponse:
            request = collection_service_pb2.ListCollectionsRequest(page_token=token)
            return self._call.unary(self._collections.ListCollections, request)

        for reply in pages(page):
            yield from reply.collections

    def update_collection(
        self,
        collection: str,
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        ttl: timedelta | None = None,
        add_attributes: Sequence[collection_pb2.AttributeField] = (),
    ) -> collection_pb2.Collection:
        """Change what is given; raises ConflictError if somebody changes it at the same time.

        With a ttl of 0 entities live for ever.
        """
        changed = self.collection(collection)
        mask = []
        if description is not None:
            changed.description = description
            mask.append("description")
        if labels is not None:
            changed.labels.clear()
            changed.labels.update(labels)
            mask.append("labels")
        if ttl is not None:
            changed.ClearField("ttl")
            if ttl:
                changed.ttl.FromTimedelta(ttl)
            mask.append("ttl")
        if add_attributes:
            changed.attributes.extend(add_attributes)
            mask.append("attributes")
        request = collection_service_pb2.UpdateCollectionRequest(
            collection=changed, update_mask=FieldMask(paths=mask)
        )
        return self._call.unary(self._collections.UpdateCollection, request)

    def delete_collection(self, collection: str) -> None:
        """Delete a collection and its entities; the originals' bytes stay."""
        name = collection_name(collection)
        request = collection_service_pb2.DeleteCollectionRequest(name=name)
        self._call.unary(self._collections.DeleteCollection, request)

    def load_collection(self, collection: str) -> collection_pb2.Collection:
        """Bring a collection into memory, where searches need it; returns when it is there."""
        request = collection_service_pb2.LoadCollectionRequest(name=collection_name(collection))
        return self._call.unary(self._collections.LoadCollection, request)

    def release_collection(self, collection: str) -> collection_pb2.Collection:
        """Take a collection out of memory, until it is loaded."""
        request = collection_service_pb2.ReleaseCollectionRequest(name=collection_name(collection))
        return self._call.unary(self._collections.ReleaseCollection, request)

    def optimize_collection(self, collection: str) -> collection_pb2.Collection:
        """Flush, compact and index now; `Index.progress` tells how far it came in the time."""
        request = collection_service_pb2.OptimizeCollectionRequest(name=collection_name(collection))
        return self._call.unary(self._collections.OptimizeCollection, request)

    def start_migration(
        self,
        collection: str,
        target: collection_pb2.Collection | None = None,
        *,
        target_id: str = "",
        etag: str = "",
    ) -> collection_pb2.Collection:
        """Begin to write to a second side too, with the target's schema; fill it by `upsert`.

        Without a target the schema stays, with the fingerprints that its encoders have now.
        """
        request = collection_service_pb2.StartMigrationRequest(
            name=collection_name(collection), collection=target, target_id=target_id, etag=etag
        )
        return self._call.unary(self._collections.StartMigration, request)

    def finish_migration(self, collection: str, *, etag: str = "") -> collection_pb2.Collection:
        """Take the next step: let the target answer to the name, then drop the older side."""
        request = collection_service_pb2.FinishMigrationRequest(
            name=collection_name(collection), etag=etag
        )
        return self._call.unary(self._collections.FinishMigration, request)

    def abort_migration(
        self, collection: str, *, etag: str = "", force: bool = False
    ) -> collection_pb2.Collection:
        """Go back to the older side; with force, although it lacks what was written since."""
        request = collection_service_pb2.AbortMigrationRequest(
            name=collection_name(collection), etag=etag, force=force
        )
        return self._call.unary(self._collections.AbortMigration, request)

    def set_alias(self, alias: str, collection: str, *, etag: str = "") -> collection_pb2.Alias:
        """Let an alias stand for a collection, at once for every search that begins after it.

        With the etag of an alias that was read, it is moved only if nobody has moved it since.
        """
        wanted = collection_pb2.Alias(
            name=alias_name(alias), collection=collection_name(collection), etag=etag
        )
        request = collection_service_pb2.SetAliasRequest(alias=wanted)
        return self._call.unary(self._collections.SetAlias, request)

    def aliases(self) -> Iterator[collection_pb2.Alias]:
        """All aliases, by name."""

        def page(token: str) -> collection_service_pb2.ListAliasesResponse:
            request = collection_service_pb2.ListAliasesRequest(page_token=token)
            return self._call.unary(self._collections.ListAliases, request)

        for reply in pages(page):
            yield from reply.aliases

    def delete_alias(self, alias: str) -> None:
        """Delete an alias; its collection stays."""
        request = collection_service_pb2.DeleteAliasRequest(name=alias_name(alias))
        self._call.unary(self._collections.DeleteAlias, request)


def _duration(span: timedelta | None) -> Duration | None:
    if span is None:
        return None
    message = Duration()
    message.FromTimedelta(span)
    return message
