"""Makes of each query of a search what the store looks for: words, or a vector.

A vector comes from the caller, from the encoder, or from a stored entity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import partial
from typing import Final, TypeAlias

from lookalike_common.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    LookalikeError,
    NotFoundError,
    UnimplementedError,
)
from lookalike_search.catalog import Catalog
from lookalike_search.commands.entities import ENTITY
from lookalike_search.commands.fields import choose_field, comparable_field
from lookalike_search.commands.structures import Structural, structural
from lookalike_search.concurrency import together
from lookalike_search.encoding import Content, EncoderPort
from lookalike_search.model import (
    CollectionSpec,
    Consistency,
    EntityRecord,
    Projection,
    StoredCollection,
    Task,
    Vector,
    VectorFieldSpec,
)
from lookalike_search.queries import EntityRef, Keywords, Query, Structure
from lookalike_search.store import Freshness, VectorStore
from lookalike_search.vectors import check_vector


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and where it stands in the request."""

    query: Query
    at: str
    """Path such as `queries[0]`, which its errors begin with."""
    freshness: Freshness


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


Target: TypeAlias = Example | Lookup | Structural
"""What the store looks for."""
_Outcome: TypeAlias = "Vector | LookalikeError"


@dataclass(slots=True)
class _Group:
    """Queries whose vectors come from the same place, in one go."""

    fetch: Callable[[Sequence[Query]], Awaitable[Sequence[_Outcome]]]
    own: bool = False
    """They are entities of the collection that is searched."""
    places: list[int] = dataclass_field(default_factory=list)
    """Indices of the queries."""


_STRONG: Final = Freshness(consistency=Consistency.STRONG)


class Examples:
    """Turns queries into vectors."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, catalog: Catalog) -> None:
        self._store = store
        self._encoder = encoder
        self._catalog = catalog

    async def make(
        self, tenant: str, collection: StoredCollection, asked: Sequence[Asked]
    ) -> list[Target]:
        """Return one target a query, in their order; raises the first error there is."""
        return succeeded(await self.make_each(tenant, collection, asked))

    async def make_each(
        self, tenant: str, collection: StoredCollection, asked: Sequence[Asked]
    ) -> list[Target | LookalikeError]:
        """Return one target a query, or why there is none; a bad query fails alone.

        Contents for one encoder are encoded together, entities of one collection read together.
        """
        made: dict[int, Target | LookalikeError] = {}
        fields: dict[int, VectorFieldSpec] = {}
        groups: dict[Hashable, _Group] = {}
        for place, each in enumerate(asked):
            source = each.query.source
            try:
                if isinstance(source, Keywords):
                    made[place] = _lookup(each.query, source, collection.spec)
                    continue
                if isinstance(source, Structure):
                    made[place] = structural(each.query, source, collection.spec, each.at)
                    continue
                field = fields[place] = choose_field(each.query.vector_field, collection.spec)
                match source:
                    case Content():
                        key, group = await self._encoding(each.query, field)
                    case EntityRef() as ref:
                        key, group = await self._reading(tenant, collection, ref, field, each)
                    case vector:
                        made[place] = Example(field, check_vector(vector, field, "vector"))
                        continue
                groups.setdefault(key, group).places.append(place)
            except LookalikeError as error:
                made[place] = _placed(error, each.at)

        async def fill(group: _Group) -> None:
            outcomes = await _fetched(group, [asked[place].query for place in group.places])
            for place, outcome in zip(group.places, outcomes, strict=True):
                made[place] = _example(asked[place], fields[place], outcome, own=group.own)

        await together([fill(each) for each in groups.values()])
        return [made[place] for place in range(len(asked))]

    async def _encoding(self, query: Query, field: VectorFieldSpec) -> tuple[Hashable, _Group]:
        name, fingerprint = field.encoder, field.fingerprint
        if query.encoder and query.encoder != name:
            name, fingerprint = await self._other_encoder(query.encoder, field)
        if not name:
            raise InvalidArgumentError(
                f"vector field {field.name} has no encoder: send a vector, or name an encoder",
                field="content",
            )
        return (name, fingerprint), _Group(partial(self._encode, name, fingerprint))

    async def _encode(
        self, name: str, fingerprint: str, queries: Sequence[Query]
    ) -> Sequence[_Outcome]:
        contents = [each.source for each in queries if isinstance(each.source, Content)]
        return await self._encoder.encode(name, fingerprint, contents, Task.QUERY)

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

    async def _reading(
        self,
        tenant: str,
        searched: StoredCollection,
        ref: EntityRef,
        field: VectorFieldSpec,
        asked: Asked,
    ) -> tuple[Hashable, _Group]:
        home = await self._catalog.resolve(tenant, ref.collection_id)
        own = home.spec.uid == searched.spec.uid
        if own:  # also where one of a migration's sides was meant and the other one is searched
            home = searched
        source = field.name if own else comparable_field(home.spec, field).name
        fetch = partial(self._read, tenant, home, source, asked.freshness)
        return (home.storage, source, asked.freshness), _Group(fetch, own)

    async def _read(
        self,
        tenant: str,
        home: StoredCollection,
        field: str,
        freshness: Freshness,
        queries: Sequence[Query],
    ) -> Sequence[_Outcome]:
        refs = [each.source for each in queries if isinstance(each.source, EntityRef)]
        read = partial(
            self._store.get,
            tenant,
            home,
            projection=Projection(
                text=False, attributes=False, system=False, vectors=frozenset({field})
            ),
        )
        asked = list({each.entity_id: None for each in refs})
        found = await read(asked, freshness=freshness)
        missing = [each for each in asked if each not in found]
        if missing and freshness != _STRONG:  # perhaps only not seen yet
            found |= await read(missing, freshness=_STRONG)
        return [
            _own_vector(found[each.entity_id], field) if each.entity_id in found else _missing(each)
            for each in refs
        ]


def succeeded(made: Sequence[Target | LookalikeError]) -> list[Target]:
    """Return the targets, or raise the first error there is."""
    for each in made:
        if isinstance(each, LookalikeError):
            raise each
    return [each for each in made if not isinstance(each, LookalikeError)]


async def _fetched(group: _Group, queries: Sequence[Query]) -> Sequence[_Outcome]:
    """Fetch the vectors; what is wrong with all of them is wrong with each."""
    try:
        return await group.fetch(queries)
    except LookalikeError as error:
        return [error] * len(queries)


def _example(
    asked: Asked, field: VectorFieldSpec, outcome: _Outcome, *, own: bool
) -> Example | LookalikeError:
    source = asked.query.source
    name = "entity" if isinstance(source, EntityRef) else "content"
    if isinstance(outcome, LookalikeError):
        return _placed(outcome, f"{asked.at}.{name}")
    try:
        vector = check_vector(outcome, field, name)
    except LookalikeError as error:
        return _placed(error, asked.at)
    return Example(field, vector, source.entity_id if isinstance(source, EntityRef) and own else "")


def _placed(error: LookalikeError, at: str) -> LookalikeError:
    """Return the error at its place in the request, if it is about what the request says."""
    about = isinstance(error, InvalidArgumentError | EncoderMismatchError | UnimplementedError)
    return error.at(at) if about else error


def _own_vector(record: EntityRecord, field: str) -> Vector | LookalikeError:
    vector = record.vectors.get(field)
    if vector is None:
        return InvalidArgumentError(f"the entity has no vector in the field {field}")
    return vector


def _missing(ref: EntityRef) -> NotFoundError:
    return NotFoundError(
        "there is no such entity",
        resource_type=ENTITY,
        resource_name=f"collections/{ref.collection_id}/entities/{ref.entity_id}",
    )


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
