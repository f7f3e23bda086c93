"""`CollectionService`'s messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from lookalike.search.v1 import collection_pb2, collection_service_pb2
from lookalike.type.v1 import vector_pb2
from lookalike_search.commands.collection_changes import CollectionUpdate
from lookalike_search.commands.collection_view import CollectionView
from lookalike_search.commands.collections import CollectionDraft, VectorFieldDraft
from lookalike_search.convert.entities import collection_id_of
from lookalike_search.convert.values import to_timestamp
from lookalike_search.convert.vectors import KINDS, METRICS
from lookalike_search.model import (
    DEFAULT_ANALYZER,
    Alias,
    AttributeSpec,
    AttributeType,
    CollectionSpec,
    CollectionState,
    IndexSpec,
    IndexType,
    StoredCollection,
    VectorFieldSpec,
)

_Index = collection_pb2.Index
_Attribute = collection_pb2.AttributeField

_ALIAS: Final = "aliases/"
_INDEXES: Final[Mapping[int, IndexType]] = {
    _Index.TYPE_UNSPECIFIED: IndexType.AUTO,
    _Index.TYPE_FLAT: IndexType.FLAT,
    _Index.TYPE_HNSW: IndexType.HNSW,
    _Index.TYPE_IVF_FLAT: IndexType.IVF_FLAT,
    _Index.TYPE_IVF_SQ8: IndexType.IVF_SQ8,
    _Index.TYPE_IVF_PQ: IndexType.IVF_PQ,
    _Index.TYPE_SCANN: IndexType.SCANN,
    _Index.TYPE_DISKANN: IndexType.DISKANN,
}
_TYPES: Final[Mapping[int, AttributeType]] = {
    _Attribute.TYPE_STRING: AttributeType.STRING,
    _Attribute.TYPE_INT: AttributeType.INT,
    _Attribute.TYPE_DOUBLE: AttributeType.DOUBLE,
    _Attribute.TYPE_BOOL: AttributeType.BOOL,
    _Attribute.TYPE_TIMESTAMP: AttributeType.TIMESTAMP,
    _Attribute.TYPE_STRING_LIST: AttributeType.STRING_LIST,
    _Attribute.TYPE_JSON: AttributeType.JSON,
}
_STATES: Final = {
    CollectionState.LOADING: collection_pb2.Collection.STATE_LOADING,
    CollectionState.READY: collection_pb2.Collection.STATE_READY,
    CollectionState.RELEASED: collection_pb2.Collection.STATE_RELEASED,
}
_INDEX_NUMBERS: Final = {kind: number for number, kind in _INDEXES.items()}
_TYPE_NUMBERS: Final = {kind: number for number, kind in _TYPES.items()}
_METRIC_NUMBERS: Final = {metric: number for number, metric in METRICS.items()}
_KIND_NUMBERS: Final = {kind: number for number, kind in KINDS.items()}


def from_create(request: collection_service_pb2.CreateCollectionRequest) -> CollectionDraft:
    """Return the collection that is asked for."""
    return _from_collection(request.collection, request.collection_id)


def from_start(request: collection_service_pb2.StartMigrationRequest) -> CollectionDraft:
    """Return the schema that a collection is to be migrated into."""
    return _from_collection(request.collection, "")


def _from_collection(message: collection_pb2.Collection, collection_id: str) -> CollectionDraft:
    return CollectionDraft(
        id=collection_id,
        description=message.description,
        labels=dict(message.labels),
        vector_fields=tuple(_from_field(each) for each in message.vector_fields),
        attributes=tuple(_from_attribute(each) for each in message.attributes),
        partition_key=message.partition_key,
        ttl=_ttl(message),
        text_analyzer=_text_analyzer(message),
    )


def from_update(
    request: collection_service_pb2.UpdateCollectionRequest,
) -> tuple[str, CollectionUpdate]:
    """Return the id or alias of the collection, and what is to become of it."""
    message = request.collection
    collection_id = collection_id_of(message.name, "collection.name")
    return collection_id, CollectionUpdate(
        paths=tuple(request.update_mask.paths),
        etag=message.etag,
        description=message.description,
        labels=dict(message.labels),
        ttl=_ttl(message),
        attributes=tuple(_from_attribute(each) for each in message.attributes),
    )


def alias_id_of(name: str) -> str:
    """Return the id in `aliases/{alias}`, whose form the validation has checked."""
    return name.removeprefix(_ALIAS)


def to_alias(alias: Alias) -> collection_pb2.Alias:
    """Return an alias as callers see it."""
    previous = alias.previous_collection_id
    return collection_pb2.Alias(
        name=f"{_ALIAS}{alias.id}",
        collection=f"collections/{alias.collection_id}",
        previous_collection=f"collections/{previous}" if previous else "",
        etag=alias.etag,
    )


def to_collection(view: CollectionView, backend: str) -> collection_pb2.Collection:
    """Return a collection as callers see it."""
    spec, settings = view.collection.spec, view.collection.settings
    return collection_pb2.Collection(
        name=f"collections/{view.id}",
        description=settings.description,
        labels=settings.labels,
        vector_fields=[
            _to_field(each, view.status.indexed.get(each.name, 0.0)) for each in spec.vector_fields
        ],
        attributes=[_to_attribute(each) for each in spec.attributes],
        state=_state(view),
        entity_count=view.status.entity_count,
        memory_bytes=view.status.memory_bytes,
        backend=backend,
        create_time=to_timestamp(spec.create_time),
        update_time=to_timestamp(settings.update_time),
        etag=view.collection.etag,
        partition_key=spec.partition_key,
        ttl=_to_duration(settings.ttl),
        text_index=_text_index(spec),
        aliases=[f"{_ALIAS}{each}" for each in view.aliases],
        migration=_migration(view.collection),
    )


def _state(view: CollectionView) -> collection_pb2.Collection.State.ValueType:
    migrating = view.collection.settings.migration is not None
    if migrating and view.status.state is CollectionState.READY:
        return collection_pb2.Collection.STATE_MIGRATING
    return _STATES[view.status.state]


def _migration(collection: StoredCollection) -> collection_pb2.Migration | None:
    migration = collection.settings.migration
    if migration is None:
        return None
    phases = collection_pb2.Migration
    return collection_pb2.Migration(
        target=f"collections/{migration.target_id}",
        phase=phases.PHASE_FLIPPED if collection.is_flipped else phases.PHASE_COPYING,
        start_time=to_timestamp(migration.start_time),
    )


def _ttl(message: collection_pb2.Collection) -> timedelta | None:
    return message.ttl.ToTimedelta() if message.HasField("ttl") else None


def _text_analyzer(message: collection_pb2.Collection) -> str:
    if not message.HasField("text_index"):
        return ""
    return message.text_index.analyzer or DEFAULT_ANALYZER


def _to_duration(span: timedelta | None) -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span)
    return duration


def _text_index(spec: CollectionSpec) -> collection_pb2.TextIndex | None:
    if not spec.text_analyzer:
        return None
    return collection_pb2.TextIndex(analyzer=spec.text_analyzer)


def _from_field(message: collection_pb2.VectorField) -> VectorFieldDraft:
    return VectorFieldDraft(
        name=message.name,
        encoder=message.encoder,
        dimensions=message.dimensions,
        kind=KINDS.get(message.vector_kind),
        metric=METRICS.get(message.metric),
        index=IndexSpec(type=_INDEXES[message.index.type], params=dict(message.index.params)),
        space=message.space,
        source_attribute=message.source_attribute,
        optional=message.optional,
    )


def _to_field(spec: VectorFieldSpec, indexed: float) -> collection_pb2.VectorField:
    message = collection_pb2.VectorField(
        name=spec.name,
        encoder=spec.encoder,
        dimensions=spec.dimensions,
        vector_kind=vector_pb2.VectorKind.ValueType(_KIND_NUMBERS[spec.kind]),
        metric=vector_pb2.Metric.ValueType(_METRIC_NUMBERS[spec.metric]),
        encoder_fingerprint=spec.fingerprint,
        space=spec.space,
        source_attribute=spec.source_attribute,
        optional=spec.optional,
    )
    message.index.type = _Index.Type.ValueType(_INDEX_NUMBERS[spec.index.type])
    message.index.params.update(spec.index.params)
    message.index.progress = indexed
    return message


def _from_attribute(message: collection_pb2.AttributeField) -> AttributeSpec:
    return AttributeSpec(
        name=message.name,
        type=_TYPES[message.type],
        filterable=message.filterable,
        nullable=message.nullable,
        full_text=message.full_text,
        analyzer=message.analyzer or (DEFAULT_ANALYZER if message.full_text else ""),
    )


def _to_attribute(spec: AttributeSpec) -> collection_pb2.AttributeField:
    return collection_pb2.AttributeField(
        name=spec.name,
        type=_Attribute.Type.ValueType(_TYPE_NUMBERS[spec.type]),
        filterable=spec.filterable,
        nullable=spec.nullable,
        full_text=spec.full_text,
        analyzer=spec.analyzer,
    )
