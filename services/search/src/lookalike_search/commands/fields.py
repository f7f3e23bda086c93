"""Which vector field of a collection is meant."""

from __future__ import annotations

from lookalike_common.errors import EncoderMismatchError, InvalidArgumentError
from lookalike_search.model import CollectionSpec, VectorFieldSpec


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


def comparable_field(home: CollectionSpec, field: VectorFieldSpec) -> VectorFieldSpec:
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
