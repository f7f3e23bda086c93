"""Molecules through RDKit; the only module that imports it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_encoder.structure import MoleculeLimits, Search, Structure

_PRINTABLE = re.compile(r"[!-~]+")
_PLACE = "place"
_HYDROGEN = 1


class RdkitChemistry:
    """RDKit, without its log: what it has to say goes into errors."""

    def __init__(self) -> None:
        rdBase.DisableLog("rdApp.*")
        self._whole = _parser(sanitise=True)
        self._raw = _parser(sanitise=False)

    def read_smiles(self, smiles: str, limits: MoleculeLimits) -> Structure:
        """Read a molecule; raises InvalidContentError or LimitExceededError."""
        text = _check_text(smiles, "SMILES", limits)
        raw = Chem.MolFromSmiles(text, self._raw)
        if raw is None:
            raise InvalidContentError("the SMILES has a syntax error")
        _check_size(raw, limits)  # before rings are looked for
        molecule = Chem.MolFromSmiles(text, self._whole)
        if molecule is None:
            raise InvalidContentError(f"the SMILES is of no molecule: {_problems(raw)}")
        if molecule.GetNumAtoms() != raw.GetNumAtoms():
            _note_places(molecule, raw)
        return molecule

    def read_smarts(self, smarts: str, limits: MoleculeLimits) -> Structure:
        """Read a pattern; raises InvalidContentError or LimitExceededError."""
        text = _check_text(smarts, "SMARTS", limits)
        pattern = Chem.MolFromSmarts(text)
        if pattern is None:
            raise InvalidContentError("the SMARTS has a syntax error")
        _check_size(pattern, limits)
        return pattern

    def largest_fragment(self, molecule: Structure) -> Structure:
        """Return the part with most atoms; of equals the first by its canonical SMILES."""
        fragments = Chem.GetMolFrags(molecule, asMols=True)
        if len(fragments) == 1:
            return molecule
        return min(fragments, key=lambda each: (-each.GetNumAtoms(), Chem.MolToSmiles(each)))

    def canonical(self, molecule: Structure, *, stereo: bool = True) -> str:
        """Return the canonical SMILES, with isotopes."""
        if not stereo:
            molecule = Chem.Mol(molecule)
            Chem.RemoveStereochemistry(molecule)
        return str(Chem.MolToSmiles(molecule))

    def fingerprints(
        self, molecules: Sequence[Structure], *, radius: int, bits: int
    ) -> NDArray[np.uint8]:
        """Return Morgan fingerprints: uint8 [molecules, bits / 8], lowest bit first."""
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
        prints = generator.GetFingerprints(list(molecules), 1)  # lets other threads run
        packed = b"".join(DataStructs.BitVectToBinaryText(each) for each in prints)
        return np.frombuffer(packed, np.uint8).reshape(len(molecules), bits // 8)

    def search(
        self, wanted: Structure, inside: Structure, *, use_chirality: bool, max_steps: int
    ) -> Search:
        """Look for a molecule or a pattern in a molecule; lets other threads run meanwhile."""
        counter = _Counter(max_steps)
        parameters: Any = Chem.SubstructMatchParameters()  # its stubs know no properties
        parameters.maxMatches = 1
        parameters.useChirality = use_chirality
        # Once it says no to everything, the search ends at once.
        parameters.setExtraAtomCheckFunc(counter)
        found = inside.GetSubstructMatches(wanted, parameters)
        return Search(_places(inside, found[0]) if found else None, counter.steps)


class _Counter:
    """Counts the pairs of atoms that a search tries, and says no beyond a limit."""

    def __init__(self, limit: int) -> None:
        self.steps = 0
        self._limit = limit

    def __call__(self, _wanted: object, _atom: object) -> bool:
        self.steps += 1
        return self.steps <= self._limit


def _parser(*, sanitise: bool) -> Structure:
    """Return how to parse SMILES: nothing beside it, and made a molecule or left as written."""
    parameters: Any = Chem.SmilesParserParams()  # its stubs know no properties
    parameters.allowCXSMILES = parameters.parseName = False
    parameters.sanitize = parameters.removeHs = sanitise
    return parameters


def _check_text(text: str, kind: str, limits: MoleculeLimits) -> str:
    """Return it without blanks around it: RDKit would take what follows a blank for a name."""
    if len(text) > limits.max_bytes:
        raise LimitExceededError(
            f"the {kind} has {len(text)} characters; at most {limits.max_bytes} are allowed"
        )
    stripped = text.strip(" \t\r\n")
    if not stripped:
        raise InvalidContentError(f"the {kind} is empty")
    if not _PRINTABLE.fullmatch(stripped):
        raise InvalidContentError(f"the {kind} has characters other than printable ASCII")
    return stripped


def _check_size(structure: Structure, limits: MoleculeLimits) -> None:
    """Refuse what is too large, or nothing at all."""
    if not structure.GetNumAtoms():
        raise InvalidContentError("it has no atoms")
    atoms = sum(atom.GetAtomicNum() != _HYDROGEN for atom in structure.GetAtoms())
    if atoms > limits.max_atoms:
        raise LimitExceededError(f"it has {atoms} atoms; at most {limits.max_atoms} are allowed")
    _check_rings(structure, limits)


def _check_rings(structure: Structure, limits: MoleculeLimits) -> None:
    """Refuse rings whose number would be exponential: RDKit lists every one of them.

    How many there are is known in polynomial time, for each fused system alone: the toolkit counts
    them with 32 bits, and a system of `max_fused` closures has fewer than 2^32.
    """
    closures = _closures(structure)
    if closures > limits.max_rings:
        raise LimitExceededError(f"it has {closures} rings; at most {limits.max_rings} are allowed")
    if not closures:
        return
    Chem.FindRingFamilies(structure)
    cycles = 0
    for bonds in _fused_systems(structure.GetRingInfo().BondRingFamilies()):
        system = Chem.PathToSubmol(structure, sorted(bonds))
        if (fused := _closures(system)) > limits.max_fused:
            raise LimitExceededError(
                f"it has {fused} rings fused together; at most {limits.max_fused} are allowed"
            )
        Chem.FindRingFamilies(system)
        cycles += system.GetRingInfo().NumRelevantCycles()
    if cycles > limits.max_cycles:
        raise LimitExceededError(f"its rings close in {cycles} ways; {limits.max_cycles} may be")


def _closures(structure: Structure) -> int:
    """Count the bonds that close a ring."""
    parts = len(Chem.GetMolFrags(structure))
    return int(structure.GetNumBonds() - structure.GetNumAtoms() + parts)


def _fused_systems(rings: Iterable[Sequence[int]]) -> list[set[int]]:
    """Join rings that share a bond: the bonds of each system."""
    systems: list[set[int]] = []
    for ring in rings:
        joined = set(ring)
        apart = []
        for system in systems:
            if joined.isdisjoint(system):
                apart.append(system)
            else:
                joined |= system
        systems = [*apart, joined]
    return systems


def _problems(raw: Structure) -> str:
    """Say what is wrong with a molecule that could be parsed."""
    found = [str(each.Message()) for each in Chem.DetectChemistryProblems(raw)]
    return "; ".join(found[:3]) or "it cannot exist"


def _note_places(molecule: Structure, raw: Structure) -> None:
    """Tell each atom its place in the SMILES, where hydrogens of it were left out."""
    for atom in raw.GetAtoms():
        atom.SetIntProp(_PLACE, atom.GetIdx())
    Chem.SanitizeMol(raw)
    kept = Chem.RemoveHs(raw)
    for atom, original in zip(molecule.GetAtoms(), kept.GetAtoms(), strict=True):
        atom.SetIntProp(_PLACE, original.GetIntProp(_PLACE))


def _places(molecule: Structure, atoms: Sequence[int]) -> tuple[int, ...]:
    if molecule.GetNumAtoms() and not molecule.GetAtomWithIdx(0).HasProp(_PLACE):
        return tuple(atoms)
    return tuple(molecule.GetAtomWithIdx(each).GetIntProp(_PLACE) for each in atoms)
