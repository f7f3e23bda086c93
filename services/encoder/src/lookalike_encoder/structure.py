"""Structures of molecules: what is asked about them, and the toolkit that answers.

Encoders know these types; `adapters.rdkit_chemistry` fills `Chemistry`. Matching is exponential in
the worst case, so every search counts its steps and gives up: see `Effort`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Structure = Any
"""A molecule or a pattern: an object of the toolkit's own, which nobody else looks into."""

MAX_STEPS = 50_000
"""Pairs of atoms that comparing one candidate may try: 20 ms, a drug needs about a hundred."""
MAX_STEPS_OF_CALL = 5_000_000
"""Pairs of atoms that all candidates of one call may try together: 2 s, 10 in the worst case."""


class Relation(Enum):
    """How a candidate has to relate to a query."""

    SUBSTRUCTURE = "substructure"
    """It contains the query."""
    SUPERSTRUCTURE = "superstructure"
    """The query contains it."""
    EXACT = "exact"
    """Both are the same molecule."""


class Effort:
    """What is left of the steps that one call may make; its candidates share it."""

    def __init__(self, steps: int = MAX_STEPS_OF_CALL) -> None:
        self.steps = steps

    @property
    def allowed(self) -> int:
        """Steps that the next candidate may make."""
        return min(self.steps, MAX_STEPS)


@dataclass(frozen=True, slots=True, eq=False)
class StructureQuery:
    """What the candidates of one call are compared with."""

    text: str
    """SMILES, or SMARTS of a pattern."""
    is_pattern: bool
    relation: Relation
    use_chirality: bool = False
    effort: Effort = field(default_factory=Effort)

    @property
    def request_field(self) -> str:
        """Name the field of the request that it came in."""
        return "smarts" if self.is_pattern else "smiles"


@dataclass(frozen=True, slots=True)
class MoleculeLimits:
    """What a molecule may have."""

    max_bytes: int
    """Of its SMILES."""
    max_atoms: int
    """Hydrogen not counted."""
    max_rings: int
    """Bonds that close a ring."""
    max_fused: int
    """Of them, those of one fused system; 31 at most."""
    max_cycles: int
    """Shortest ways round its rings: of a ring of n parts that each can be passed on two sides
    there are 2^n."""


@dataclass(frozen=True, slots=True)
class Search:
    """What came of looking for one structure in another."""

    atoms: tuple[int, ...] | None
    """Places, in the SMILES, of the atoms that match, in the order of what was looked for; None
    where nothing matches."""
    steps: int
    """Pairs of atoms tried. More than were allowed: it gave up, and `atoms` says nothing."""


class Chemistry(Protocol):
    """Reads and compares molecules; every method may be called from any thread."""

    def read_smiles(self, smiles: str, limits: MoleculeLimits) -> Structure:
        """Read a molecule; raises InvalidContentError or LimitExceededError, without a field."""

    def read_smarts(self, smarts: str, limits: MoleculeLimits) -> Structure:
        """Read a pattern; raises InvalidContentError or LimitExceededError, without a field."""

    def largest_fragment(self, molecule: Structure) -> Structure:
        """Return the part with most atoms, without salts; of equals the first by its SMILES."""

    def canonical(self, molecule: Structure, *, stereo: bool = True) -> str:
        """Return the canonical SMILES, the same for every way to write a molecule."""

    def fingerprints(
        self, molecules: Sequence[Structure], *, radius: int, bits: int
    ) -> NDArray[np.uint8]:
        """Return Morgan fingerprints: uint8 [molecules, bits / 8], lowest bit first."""

    def search(
        self, wanted: Structure, inside: Structure, *, use_chirality: bool, max_steps: int
    ) -> Search:
        """Look for a molecule or a pattern in a molecule."""
