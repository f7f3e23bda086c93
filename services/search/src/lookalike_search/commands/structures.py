"""Finds molecules that relate to another one: the same, that contain it, or that it contains.

No index answers that, so entities are read in the order of their ids, as many as the setting
allows, and the encoder of molecules compares their SMILES. Only the same molecule has a short cut:
its fingerprint is the same too, so where a vector field has fingerprints, only entities with an
equal one are compared. All matches score 1, and stand in the order of their ids.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lookalike_common.errors import InvalidArgumentError, LookalikeError, join_path
from lookalike_search.attributes import check_attribute_name
from lookalike_search.commands.fields import choose_field
from lookalike_search.commands.merging import Window
from lookalike_search.commands.plan import Plan
from lookalike_search.encoding import MAX_SMILES, Content, ContentKind, EncoderPort, Relation
from lookalike_search.model import (
    AttributeType,
    CollectionSpec,
    EntityRecord,
    Metric,
    Neighbor,
    Projection,
    Task,
    VectorFieldSpec,
)
from lookalike_search.queries import Query, Structure
from lookalike_search.store import VectorStore
from lookalike_search.vectors import check_vector

_AT_ONCE: Final = 1000
"""Entities that are read, and compared, in one go."""
_EQUAL: Final = 1.0 - 1e-6
_GROWTH: Final = 4
_SCORE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Structural:
    """A molecule to compare with, and by which encoder; it excludes nothing."""

    structure: Structure
    encoder: str
    fingerprints: VectorFieldSpec | None
    """The vector field in which the same molecule has an equal vector."""
    at: str
    """Where the query stands in the request."""
    excluded: str = ""


def structural(query: Query, structure: Structure, spec: CollectionSpec, at: str) -> Structural:
    """Return what a structure query looks for."""
    if structure.attribute:
        check_attribute_name(structure.attribute, "attribute")
        declared = spec.attribute(structure.attribute)
        if declared is not None and declared.type is not AttributeType.STRING:
            raise InvalidArgumentError(
                f"is a {declared.type}; SMILES are in a string", field="attribute"
            )
    chosen = query.encoder and not query.vector_field
    field = None if chosen else choose_field(query.vector_field, spec)
    encoder = query.encoder or (field.encoder if field else "")
    if not encoder:
        raise InvalidArgumentError(
            "the vector field has no encoder: name one that knows structures", field="encoder"
        )
    return Structural(structure, encoder, _fingerprints(structure, encoder, field), at)


def _fingerprints(
    structure: Structure, encoder: str, field: VectorFieldSpec | None
) -> VectorFieldSpec | None:
    """Return the field if equal molecules are sure to have equal vectors there."""
    if (
        field is not None
        and field.metric is Metric.TANIMOTO
        and field.encoder == encoder
        and not field.source_attribute
        and not structure.attribute
        and structure.relation is Relation.SAME
    ):
        return field
    return None


class Structures:
    """Compares stored molecules."""

    def __init__(self, store: VectorStore, encoder: EncoderPort, *, max_scanned: int) -> None:
        self._store = store
        self._encoder = encoder
        self._max_scanned = max_scanned

    async def find(
        self, tenant: str, plan: Plan, wanted: Structural, limit: int, projection: Projection
    ) -> Window:
        """Return the first matches by id, at most `limit`."""
        if wanted.fingerprints is None:
            matches, truncated = await self._scan(tenant, plan, wanted, limit)
        else:
            matches, truncated = await self._look_up(tenant, plan, wanted, wanted.fingerprints)
        window = await self._read(tenant, plan, matches[:limit], projection)
        return Window(
            neighbors=[Neighbor(each, _SCORE, None) for each in window],
            exhausted=len(matches) < limit,
            equals_follow=True,
            truncated=truncated,
        )

    async def _scan(
        self, tenant: str, plan: Plan, wanted: Structural, limit: int
    ) -> tuple[list[EntityRecord], bool]:
        """Return matches among what may be read, until there are enough, and if more was left."""
        matches: list[EntityRecord] = []
        room = self._max_scanned
        async for page in self._pages(tenant, plan, wanted):
            matches += await self._matching(wanted, page[:room])
            if len(matches) >= limit:
                return matches, False
            if len(page) > room:
                return matches, True
            room -= len(page)
        return matches, False

    async def _pages(
        self, tenant: str, plan: Plan, wanted: Structural
    ) -> AsyncIterator[list[EntityRecord]]:
        after = ""
        while True:
            page = await self._store.scan(
                tenant,
                plan.collection,
                limit=_AT_ONCE,
                after=after,
                where=plan.where,
                projection=_molecules(wanted),
                freshness=plan.freshness,
            )
            yield page
            if len(page) < _AT_ONCE:
                return
            after = page[-1].id

    async def _look_up(
        self, tenant: str, plan: Plan, wanted: Structural, field: VectorFieldSpec
    ) -> tuple[list[EntityRecord], bool]:
        """Return the matches among entities with the same fingerprint."""
        content = Content(kind=ContentKind.SMILES, data=wanted.structure.smiles.encode())
        try:
            [vector] = await self._encoder.encode(
                field.encoder, field.fingerprint, [content], Task.QUERY
            )
        except LookalikeError as error:
            raise _placed(error, wanted) from error
        if isinstance(vector, LookalikeError):
            raise _placed(vector.at("smiles"), wanted)
        check_vector(vector, field, join_path(wanted.at, "structure.smiles"))
        most = self._store.capabilities.max_window
        size = min(_AT_ONCE, most)
        while True:
            found = await self._store.search(
                tenant,
                plan.collection,
                field.name,
                vector,
                limit=size,
                where=plan.where,
                projection=_molecules(wanted),
                freshness=plan.freshness,
                params=plan.params,
            )
            same = [each.record for each in found if each.score >= _EQUAL]
            more = len(same) == size
            if not more or size == most:
                return await self._matching(wanted, same), more
            size = min(most, size * _GROWTH)

    async def _matching(
        self, wanted: Structural, records: Sequence[EntityRecord]
    ) -> list[EntityRecord]:
        """Return the entities whose molecule relates as asked; what is no molecule does not."""
        smiles = {each.id: _smiles(each, wanted.structure.attribute) for each in records}
        # With nothing to compare, the query is compared with itself: it must be a molecule.
        different = list({each: None for each in smiles.values() if each})
        different = different or [wanted.structure.smiles]
        try:
            answers = await self._encoder.match_structure(
                wanted.encoder, wanted.structure.smiles, wanted.structure.relation, different
            )
        except LookalikeError as error:
            raise _placed(error, wanted) from error
        for answer in answers:
            if isinstance(answer, LookalikeError) and not isinstance(answer, InvalidArgumentError):
                raise answer
        related = {each for each, answer in zip(different, answers, strict=True) if answer is True}
        return [each for each in records if smiles[each.id] in related]

    async def _read(
        self, tenant: str, plan: Plan, matches: Sequence[EntityRecord], projection: Projection
    ) -> list[EntityRecord]:
        """Read what is wanted of the matches; what was deleted meanwhile drops out."""
        bare = replace(projection, text=False, attributes=False, system=False)
        if not matches or (projection == bare and not projection.vectors):
            return list(matches)
        found = await self._store.get(
            tenant,
            plan.collection,
            [each.id for each in matches],
            projection=projection,
            freshness=plan.freshness,
        )
        return [found[each.id] for each in matches if each.id in found]


def _molecules(wanted: Structural) -> Projection:
    """Return what has to be read of an entity to compare it."""
    attribute = bool(wanted.structure.attribute)
    return Projection(text=not attribute, attributes=attribute, system=False)


def _smiles(record: EntityRecord, attribute: str) -> str:
    value = record.attributes.get(attribute) if attribute else record.text
    return value if isinstance(value, str) and len(value) <= MAX_SMILES else ""


def _placed(error: LookalikeError, wanted: Structural) -> LookalikeError:
    """Return the error with its place in the search request instead of that in the encoder's."""
    if not error.field:
        return error
    field = "encoder" if error.field == "encoder" else "structure.smiles"
    return type(error)(
        error.message,
        field=join_path(wanted.at, field),
        resource_type=error.resource_type,
        resource_name=error.resource_name,
        retry_after=error.retry_after,
        metadata=error.metadata,
    )
