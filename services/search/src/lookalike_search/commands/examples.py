"""Makes of each query of a search what the store looks for: words, or a vector.

A vector comes from the caller, from the encoder, or from a stored entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_common.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    LookalikeError,
    NotFoundError,
)
from lookalike_search.catalog import Catalog
from lookalike_search.commands.entities import ENTITY
from lookalike_search.concurrency import together
from lookalike_search.encoding import Content, EncoderPort
from lookalike_search.model import (
    CollectionSpec,
    Projection,
    StoredCollection,
    Task,
    Vector,
    VectorFieldSpec,
)
from lookalike_search.queries import EntityRef, Keywords, Query
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.vectors import check_vector


@dataclass(frozen=True, slots=True)
class Example:
    """A query's vector."""

    field: VectorFieldSpec
    vector: Vector
    excluded: str = ""
    """Id of the entity whose vector it is, in the collection that is searched."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A query's words, and where to look them up; it excludes nothing."""

    attribute: str
    words: str
    excluded: str = ""


class Examples:
    """Turns queries into vectors."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def make(
        self,
        tenant: str,
        collection: StoredCollection,
        queries: Sequence[Query],
        freshness: Freshness,
    ) -> list[Example | Lookup]:
        """Return one example a query, in their order; errors are at `queries[i]`."""
        return await together(
            [
                self._make_one(tenant, collection, each, freshness, f"queries[{index}]")
                for index, each in enumerate(queries)
            ]
        )

    async def _make_one(
        self,
        tenant: str,
        collection: StoredCollection,
        query: Query,
        freshness: Freshness,
        at: str,
    ) -> Example | Lookup:
        try:
            if isinstance(query.source, Keywords):
                return _lookup(query, query.source, collection.spec)
            field = choose_field(query.vector_field, collection.spec)
            match query.source:
                case Content():
                    return Example(field, await self._encode(query.source, query.encoder, field))
                case EntityRef():
                    return await self._read(tenant, collection, query.source, field, freshness)
                case vector:
                    return Example(field, check_vector(vector, field, "vector"))
        except InvalidArgumentError as error:
            raise error.at(at) from error
        except EncoderMismatchError as error:
            raise error.at(at) from error

    async def _encode(self, content: Content, encoder: str, field: VectorFieldSpec) -> Vector:
        name, fingerprint = field.encoder, field.fingerprint
        if encoder and encoder != name:
            name, fingerprint = await self._other_encoder(encoder, field)
        if not name:
            raise InvalidArgumentError(
                f"vector field {field.name} has no encoder: send a vector, or name an encoder",
                field="content",
            )
        [answer] = await self._encoder.encode(name, fingerprint, [content], Task.QUERY)
        if isinstance(answer, LookalikeError):
            raise answer.at("content")
        return check_vector(answer, field, "content")

    async def _other_encoder(self, encoder: str, field: VectorFieldSpec) -> tuple[str, str]:
        facts = await self._encoder.describe(encoder)
        if facts.name != field.encoder and (not field.space or facts.space != field.space):
            raise EncoderMismatchError(
                f"{facts.name} has the space {facts.space}, vector field {field.name} of the "
                f"collection has {field.space or 'none'}",
                field="encoder",
                metadata={"expected": field.space, "actual": facts.space},
            )
        return facts.name, facts.fingerprint

    async def _read(
        self,
        tenant: str,
        searched: StoredCollection,
        ref: EntityRef,
        field: VectorFieldSpec,
        freshness: Freshness,
    ) -> Example:
        home = await self._catalog.resolve(tenant, ref.collection_id)
        own = home.storage == searched.storage
        source = field if own else _comparable_field(home.spec, field)
        found = await self._store.get(
            tenant,
            home,
            [ref.entity_id],
            projection=Projection(
                text=False, attributes=False, system=False, vectors=frozenset({source.name})
            ),
            freshness=freshness,
        )
        if ref.entity_id not in found:
            raise NotFoundError(
                "there is no such entity",
                resource_type=ENTITY,
                resource_name=f"collections/{ref.collection_id}/entities/{ref.entity_id}",
            )
        vector = check_vector(found[ref.entity_id].vectors[source.name], field, "entity")
        return Example(field, vector, ref.entity_id if own else "")


def _lookup(query: Query, keywords: Keywords, spec: CollectionSpec) -> Lookup:
    for name in ("vector_field", "encoder"):
        if getattr(query, name):
            raise InvalidArgumentError("is of no use: words are not encoded", field=name)
    if spec.keyword_index(keywords.attribute) is None:
        if keywords.attribute:
            raise InvalidArgumentError(
                f"the collection has no full-text attribute {keywords.attribute}", field="attribute"
            )
        raise InvalidArgumentError(
            "the collection has no text_index: name a full-text attribute, or create it with one",
            field="keyword",
        )
    return Lookup(keywords.attribute, keywords.words)


def choose_field(name: str, spec: CollectionSpec) -> VectorFieldSpec:
    """Return the vector field of that name, or the only one."""
    if not name:
        if len(spec.vector_fields) > 1:
            names = ", ".join(each.name for each in spec.vector_fields)
            raise InvalidArgumentError(
                f"is needed where there are several: {names}", field="vector_field"
            )
        return spec.vector_fields[0]
    field = spec.vector_field(name)
    if field is None:
        raise InvalidArgumentError(
            f"the collection has no vector field {name}", field="vector_field"
        )
    return field


def _comparable_field(home: CollectionSpec, field: VectorFieldSpec) -> VectorFieldSpec:
    """Return the field of another collection whose vectors `field`'s can be compared with."""
    comparable = [
        each
        for each in home.vector_fields
        if each.space and each.space == field.space and each.dimensions == field.dimensions
    ]
    comparable.sort(key=lambda each: each.name != field.name)
    if not comparable:
        spaces = ", ".join(each.space or "none" for each in home.vector_fields)
        raise EncoderMismatchError(
            f"the entity's vectors have the space {spaces}, vector field {field.name} has "
            f"{field.space or 'none'}",
            field="entity",
            metadata={"expected": field.space, "actual": spaces},
        )
    return comparable[0]
