"""A collection's facts as JSON, the form in which they are properties of a Milvus collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from lookalike_search.attributes import canonical_json, format_timestamp
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSettings,
    CollectionSpec,
    IndexSpec,
    IndexType,
    Metric,
    Migration,
    VectorFieldSpec,
    VectorKind,
)

FACTS_KEY: Final = "lookalike.facts"
"""The property that holds a `CollectionSpec`, and the settings it was created with."""
SETTINGS_KEY: Final = "lookalike.settings"
"""The property that holds a later revision's `CollectionSettings`."""

_VERSION: Final = 1


def encode_facts(spec: CollectionSpec, settings: CollectionSettings) -> str:
    """Return what is stored with the creation."""
    facts = {
        "version": _VERSION,
        "id": spec.id,
        "uid": spec.uid,
        "create_time": format_timestamp(spec.create_time),
        "vector_fields": [_field_to_json(each) for each in spec.vector_fields],
        "attributes": [_attribute_to_json(each) for each in spec.attributes],
        "text_analyzer": spec.text_analyzer,
        "partition_key": spec.partition_key,
        "layout": spec.layout,
        "settings": _settings_to_json(settings),
    }
    return canonical_json(facts).decode()


def decode_facts(text: str) -> tuple[CollectionSpec, CollectionSettings]:
    """Return what `encode_facts` was given; raises `ValueError` for what is not ours."""
    facts = json.loads(text)
    if not isinstance(facts, dict) or facts.get("version") != _VERSION:
        raise ValueError("facts of another version")
    spec = CollectionSpec(
        id=facts["id"],
        uid=facts["uid"],
        create_time=datetime.fromisoformat(facts["create_time"]),
        vector_fields=tuple(_field_from_json(each) for each in facts["vector_fields"]),
        attributes=tuple(_attribute_from_json(each) for each in facts["attributes"]),
        partition_key=facts.get("partition_key", ""),
        layout=facts.get("layout", 1),
        text_analyzer=facts.get("text_analyzer", ""),
    )
    return spec, _settings_from_json(facts["settings"])


def encode_settings(uid: str, settings: CollectionSettings) -> str:
    """Return what is stored for a later revision of the collection with this uid."""
    return canonical_json({"uid": uid, "settings": _settings_to_json(settings)}).decode()


def decode_settings(text: str) -> tuple[str, CollectionSettings]:
    """Return what `encode_settings` was given."""
    facts = json.loads(text)
    return facts["uid"], _settings_from_json(facts["settings"])


def _field_to_json(spec: VectorFieldSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "dimensions": spec.dimensions,
        "metric": spec.metric,
        "kind": spec.kind,
        "encoder": spec.encoder,
        "fingerprint": spec.fingerprint,
        "space": spec.space,
        "index": {"type": spec.index.type, "params": dict(spec.index.params)},
        "source_attribute": spec.source_attribute,
        "source_kind": spec.source_kind,
        "optional": spec.optional,
        "takes": list(spec.takes),
    }


def _field_from_json(facts: Mapping[str, Any]) -> VectorFieldSpec:  # JSON, checked by use
    index = facts["index"]
    return VectorFieldSpec(
        name=facts["name"],
        dimensions=facts["dimensions"],
        metric=Metric(facts["metric"]),
        kind=VectorKind(facts["kind"]),
        encoder=facts["encoder"],
        fingerprint=facts["fingerprint"],
        space=facts["space"],
        index=IndexSpec(type=IndexType(index["type"]), params=index["params"]),
        source_attribute=facts.get("source_attribute", ""),
        source_kind=facts.get("source_kind", "text"),
        optional=facts.get("optional", False),
        takes=tuple(facts.get("takes", ())),
    )


def _attribute_to_json(spec: AttributeSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "type": spec.type,
        "filterable": spec.filterable,
        "nullable": spec.nullable,
        "full_text": spec.full_text,
        "analyzer": spec.analyzer,
    }


def _attribute_from_json(facts: Mapping[str, Any]) -> AttributeSpec:  # JSON, checked by use
    return AttributeSpec(
        name=facts["name"],
        type=AttributeType(facts["type"]),
        filterable=facts["filterable"],
        nullable=facts["nullable"],
        full_text=facts.get("full_text", False),
        analyzer=facts.get("analyzer", ""),
    )


def _settings_to_json(settings: CollectionSettings) -> dict[str, object]:
    return {
        "revision": settings.revision,
        "update_time": format_timestamp(settings.update_time),
        "description": settings.description,
        "labels": dict(settings.labels),
        "attributes": [_attribute_to_json(each) for each in settings.attributes],
        "released": settings.released,
        "ttl": settings.ttl.total_seconds() if settings.ttl is not None else None,
        "migration": _migration_to_json(settings.migration),
    }


def _settings_from_json(facts: Mapping[str, Any]) -> CollectionSettings:  # JSON, checked by use
    return CollectionSettings(
        revision=facts["revision"],
        update_time=datetime.fromisoformat(facts["update_time"]),
        description=facts["description"],
        labels=facts["labels"],
        released=facts.get("released", False),
        ttl=timedelta(seconds=facts["ttl"]) if facts.get("ttl") is not None else None,
        attributes=tuple(
            replace(_attribute_from_json(each), added=True) for each in facts.get("attributes", ())
        ),
        migration=_migration_from_json(facts.get("migration")),
    )


def _migration_to_json(migration: Migration | None) -> dict[str, object] | None:
    if migration is None:
        return None
    return {
        "target_id": migration.target_id,
        "source": migration.source,
        "target": migration.target,
        "start_time": format_timestamp(migration.start_time),
    }


def _migration_from_json(
    facts: Mapping[str, Any] | None,  # JSON, checked by use
) -> Migration | None:
    if facts is None:
        return None
    return Migration(
        target_id=facts["target_id"],
        source=facts["source"],
        target=facts["target"],
        start_time=datetime.fromisoformat(facts["start_time"]),
    )
