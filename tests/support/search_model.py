"""What a search service must answer, as plain Python dictionaries and numpy's exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
"""float64 [dimensions], of the very float32 values that are sent."""
Attributes: TypeAlias = Mapping[str, str | int | tuple[str, ...]]

COSINE: Final = "cosine"
EUCLIDEAN: Final = "euclidean"
INNER_PRODUCT: Final = "inner_product"


@dataclass(frozen=True, slots=True)
class Thing:
    """One entity."""

    item: str
    vector: Vector
    attributes: Attributes

    def same_as(self, other: Thing) -> bool:
        """Whether writing the other one changes nothing."""
        return (
            self.item == other.item
            and self.attributes == other.attributes
            and bool(np.array_equal(self.vector, other.vector))
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter, in the language of the API and in Python."""

    text: str
    holds: Callable[[Attributes], bool]

    def __and__(self, other: Condition) -> Condition:
        return Condition(
            f"({self.text}) AND ({other.text})",
            lambda values: self.holds(values) and other.holds(values),
        )

    def __or__(self, other: Condition) -> Condition:
        return Condition(
            f"({self.text}) OR ({other.text})",
            lambda values: self.holds(values) or other.holds(values),
        )


def _price(values: Attributes) -> int | None:
    found = values.get("price")
    return found if isinstance(found, int) else None


CONDITIONS: Final = (
    Condition("price < 3", lambda values: (p := _price(values)) is not None and p < 3),
    Condition("NOT price < 3", lambda values: (p := _price(values)) is not None and p >= 3),
    Condition('color = "red"', lambda values: values.get("color") == "red"),
    Condition('color != "red"', lambda values: "color" in values and values["color"] != "red"),
    Condition("NOT color:*", lambda values: "color" not in values),
    Condition('tags:"a"', lambda values: "a" in values.get("tags", ())),  # type: ignore[operator] # tags are tuples
)
"""What is missing has no value: neither a comparison nor its opposite holds."""


@dataclass(slots=True)
class Shelf:
    """One collection."""

    metric: str
    things: dict[str, Thing] = field(default_factory=dict)

    def write(self, batch: Sequence[tuple[str, Thing]]) -> dict[str, str]:
        """Write; of the same id the last one counts. Return what becomes of each."""
        last = dict(batch)
        outcomes = {}
        for key, thing in last.items():
            known = self.things.get(key)
            if known is None:
                outcomes[key] = "created"
            else:
                outcomes[key] = "unchanged" if known.same_as(thing) else "updated"
            self.things[key] = thing
        return outcomes

    def set_attributes(self, key: str, attributes: Attributes) -> None:
        """Change some attributes of a thing that is there."""
        known = self.things[key]
        self.things[key] = replace(known, attributes={**known.attributes, **attributes})

    def matching(self, condition: Condition | None) -> dict[str, Thing]:
        """Return what a filter lets through."""
        return {
            key: thing
            for key, thing in self.things.items()
            if condition is None or condition.holds(thing.attributes)
        }

    def scores(self, query: Vector, condition: Condition | None) -> dict[str, float]:
        """Return the score of each thing that matches; higher is closer."""
        return {
            key: score(self.metric, query, thing.vector)
            for key, thing in self.matching(condition).items()
        }


def score(metric: str, one: Vector, other: Vector) -> float:
    """Return how close two vectors are, as the API defines it."""
    if metric == COSINE:
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
    if metric == INNER_PRODUCT:
        return float(one @ other)
    return float(1 / (1 + np.linalg.norm(one - other)))


@dataclass(slots=True)
class Library:
    """All collections, and the other names that some have."""

    shelves: dict[str, Shelf] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Shelf | None:
        """Return the collection that a name or an alias stands for."""
        return self.shelves.get(self.aliases.get(name, name))

    def names(self) -> Iterator[str]:
        """Yield all names that something can be asked under."""
        yield from self.shelves
        yield from self.aliases
