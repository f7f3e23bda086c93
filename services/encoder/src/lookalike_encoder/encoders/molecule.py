"""Molecules: Morgan fingerprints, canonical SMILES, and whether one structure contains another.

Bits are hashed, so two molecules may share them all: exact matches compare canonical SMILES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import (
    InternalError,
    InvalidArgumentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_encoder.content import Item, Operation, SmilesContent
from lookalike_encoder.encoder import Prepared, Row, wrong_modality
from lookalike_encoder.manifest import Manifest
from lookalike_encoder.session import Runtime
from lookalike_encoder.structure import (
    MoleculeLimits,
    Relation,
    Structure,
    StructureQuery,
)

_MAX_RINGS, _MAX_FUSED, _MAX_CYCLES = 150, 31, 2000  # buckminsterfullerene has 31 fused
_NO_MATCH = np.array([-1], np.int32)
_NO_ATOMS = np.empty(0, np.int32)
_Queries = dict[int, Structure | LookalikeError]


class MoleculePreprocessing(BaseModel):
    """How a molecule becomes bits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    radius: int = Field(ge=0, le=6)
    """Bonds around an atom that its bits describe."""
    fragments: Literal["all", "largest"]
    """Whether salts and solvents count, or only the largest part of what is written."""


class MoleculeEncoder:
    """Morgan fingerprints as bits; `MatchStructure` beside them."""

    prefetches = False
    operations = frozenset({Operation.ENCODE, Operation.MATCH_STRUCTURE})
    labels = ()
    device = "cpu"

    def __init__(self, manifest: Manifest, _files: Mapping[str, Path], runtime: Runtime) -> None:
        self.manifest = manifest
        self._preprocessing = MoleculePreprocessing.model_validate(manifest.preprocessing)
        limits = manifest.limits
        self._limits = MoleculeLimits(
            limits.max_bytes, limits.max_atoms, _MAX_RINGS, _MAX_FUSED, _MAX_CYCLES
        )
        self._chemistry = runtime.open_chemistry()

    def estimate(self, _item: Item) -> int:
        """Count molecules."""
        return 1

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Read molecules, and match those that are to be matched; a query is read once."""
        queries: _Queries = {}
        return [self._prepare_item(item, queries) for item in items]

    def encode(self, rows: Sequence[Row]) -> list[NDArray[Any]]:
        """Make the bits of molecules; what was matched is finished."""
        molecules = [row.data for row in rows if row.operation is Operation.ENCODE]
        prints = iter(self._fingerprints(molecules) if molecules else ())
        return [next(prints) if row.operation is Operation.ENCODE else row.data for row in rows]

    def _fingerprints(self, molecules: Sequence[Structure]) -> NDArray[np.uint8]:
        return self._chemistry.fingerprints(
            molecules, radius=self._preprocessing.radius, bits=self.manifest.dimensions
        )

    def _prepare_item(self, item: Item, queries: _Queries) -> Prepared | LookalikeError:
        try:
            if item.operation is Operation.MATCH_STRUCTURE:
                return self._match(item, queries)
            return self._read(item)
        except LookalikeError as error:
            whole = error.field or item.operation is Operation.MATCH_STRUCTURE
            return error if whole else error.at("content")

    def _read(self, item: Item) -> Prepared:
        if item.regions:
            raise InvalidArgumentError("only pictures have regions", field="regions")
        molecule = self._read_content(item)
        if self._preprocessing.fragments == "largest":
            molecule = self._chemistry.largest_fragment(molecule)
        return Prepared((Row(1, molecule),), canonical=self._chemistry.canonical(molecule))

    def _read_content(self, item: Item) -> Structure:
        if not isinstance(item.content, SmilesContent):
            raise wrong_modality(self.manifest, item.content)
        return self._chemistry.read_smiles(item.content.smiles, self._limits)

    def _match(self, item: Item, queries: _Queries) -> Prepared:
        """Compare a candidate, as written, with the query."""
        query = item.structure
        if query is None:
            raise InternalError("there is nothing to match with")
        if id(query) not in queries:
            queries[id(query)] = self._read_query(query)
        wanted = queries[id(query)]
        if isinstance(wanted, LookalikeError):
            raise wanted
        atoms = self._compare(query, wanted, self._read_content(item))
        return Prepared((Row(1, atoms, Operation.MATCH_STRUCTURE),))

    def _read_query(self, query: StructureQuery) -> Structure | LookalikeError:
        read = self._chemistry.read_smarts if query.is_pattern else self._chemistry.read_smiles
        try:
            structure = read(query.text, self._limits)
        except LookalikeError as error:
            return error.at(query.request_field)
        if query.relation is Relation.EXACT:
            return self._chemistry.canonical(structure, stereo=query.use_chirality)
        return structure

    def _compare(
        self, query: StructureQuery, wanted: Structure, candidate: Structure
    ) -> NDArray[np.int32]:
        """Return what `Operation.MATCH_STRUCTURE` says."""
        if query.relation is Relation.EXACT:
            canonical = self._chemistry.canonical(candidate, stereo=query.use_chirality)
            return _NO_ATOMS if canonical == wanted else _NO_MATCH
        if query.relation is Relation.SUPERSTRUCTURE:
            return _NO_MATCH if self._search(query, candidate, wanted) is None else _NO_ATOMS
        atoms = self._search(query, wanted, candidate)
        return _NO_MATCH if atoms is None else np.array(atoms, np.int32)

    def _search(
        self, query: StructureQuery, wanted: Structure, inside: Structure
    ) -> tuple[int, ...] | None:
        """Look for one structure in another, within what is left of the call's effort."""
        allowed = query.effort.allowed
        if not allowed:
            raise LimitExceededError("the candidates before this one took all steps of this call")
        found = self._chemistry.search(
            wanted, inside, use_chirality=query.use_chirality, max_steps=allowed
        )
        query.effort.steps = max(0, query.effort.steps - found.steps)  # giving up takes some, too
        if found.steps > allowed:
            raise LimitExceededError(
                f"comparing takes more than {allowed} steps: the query fits in too many ways"
            )
        return found.atoms
