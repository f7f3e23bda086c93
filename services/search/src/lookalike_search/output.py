"""Which parts of an entity a reply carries: from `output_fields` to a projection and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from lookalike_common.errors import InvalidArgumentError
from lookalike_search.model import CollectionSpec, EntityRecord, Projection

_ATTRIBUTES: Final = "attributes"
_VECTORS: Final = "vectors"
_SYSTEM: Final = frozenset(
    {"asset", "segment", "generation", "source_uri", "create_time", "update_time"}
)
_PLAIN: Final = _SYSTEM | {"item", "text", "content_hash"}
_DEFAULTS: Final = EntityRecord(id="")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputMask:
    """What a caller wants to see of each entity; the name always comes."""

    plain: frozenset[str]
    """Fields of `EntityRecord`, without attributes and vectors."""
    attributes: frozenset[str] | None
    """Names of attributes; None for all."""
    vectors: frozenset[str]

    @property
    def projection(self) -> Projection:
        """What has to be read for it."""
        return Projection(
            text="text" in self.plain,
            attributes=self.attributes is None or bool(self.attributes),
            vectors=self.vectors,
            system=bool(self.plain & _SYSTEM),
        )

    def with_attribute(self, name: str) -> OutputMask:
        """Return the mask of somebody who wants to see this attribute too."""
        kept = self.attributes
        return self if kept is None else replace(self, attributes=kept | {name})

    def apply(self, record: EntityRecord) -> EntityRecord:
        """Return the entity with everything else at its default."""
        kept = self.attributes
        if kept is None and self.plain == _PLAIN and record.vectors.keys() == self.vectors:
            return record
        return replace(
            record,
            attributes={
                name: value
                for name, value in record.attributes.items()
                if kept is None or name in kept
            },
            vectors={
                name: vector for name, vector in record.vectors.items() if name in self.vectors
            },
            **{
                each.name: getattr(_DEFAULTS, each.name)
                for each in fields(EntityRecord)
                if each.name in _PLAIN and each.name not in self.plain
            },
        )


def parse_output_fields(
    paths: Sequence[str], spec: CollectionSpec, *, include_vectors: bool = False
) -> OutputMask:
    """Return the mask for `output_fields`; without any, everything but vectors.

    Raises `InvalidArgumentError` at `output_fields[i]` for what an entity does not have.
    """
    names = frozenset(each.name for each in spec.vector_fields)
    vectors = set(names if include_vectors else ())
    if not paths:
        return OutputMask(plain=_PLAIN, attributes=None, vectors=frozenset(vectors))
    plain: set[str] = set()
    attributes: set[str] = set()
    all_attributes = False
    for index, path in enumerate(paths):
        head, _, tail = path.partition(".")
        if path in _PLAIN:
            plain.add(path)
        elif head == _ATTRIBUTES:
            attributes.add(tail)
            all_attributes = all_attributes or not tail
        elif head == _VECTORS and (not tail or tail in names):
            vectors |= {tail} if tail else names
        elif path != "name":
            raise InvalidArgumentError(
                f"entities of this collection have no field {path[:80]}",
                field=f"output_fields[{index}]",
            )
    return OutputMask(
        plain=frozenset(plain),
        attributes=None if all_attributes else frozenset(attributes),
        vectors=frozenset(vectors),
    )
