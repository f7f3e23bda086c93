"""Molecules: SMILES or a record of an SD file, read, perhaps freed of salts, and identified.

The facts of the one molecule: `smiles` (canonical), `inchi_key` (empty where InChI has no name for
it), `name` and `properties` (of an SD record; empty otherwise).
"""

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO

from rdkit import Chem, rdBase
from rdkit.Chem import rdinchi
from rdkit.Chem.MolStandardize import rdMolStandardize

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.decoding import DecodeLimits, Fact, Facts

Molecule = Any
"""An object of the toolkit's own."""

_MAX_BYTES = 1 << 20
_MAX_ATOMS = 4096
codecs.lookup("utf-8-sig")  # it could not be opened any more when it is needed
rdBase.DisableLog("rdApp.*")


def run(
    file: BinaryIO, arguments: Facts, _limits: DecodeLimits
) -> Iterator[tuple[dict[str, Fact], bytes]]:
    """Yield a molecule of the `format` `smiles` or `sdf`; `strip_salts` keeps its main fragment.

    Raises InvalidContentError for what is none, LimitExceededError for a text too long.
    """
    data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise LimitExceededError(f"the molecule has more than {_MAX_BYTES} bytes")
    read = _read(_text(data), arguments["format"])
    molecule = read
    if arguments.get("strip_salts"):
        molecule = rdMolStandardize.LargestFragmentChooser(preferOrganic=True).choose(read)
    facts: dict[str, Fact] = {
        "smiles": str(Chem.MolToSmiles(molecule)),
        "inchi_key": str(rdinchi.MolToInchiKey(molecule)),
        "name": _property(read, "_Name"),
        "properties": {name: _property(read, name) for name in read.GetPropNames()},
    }
    yield facts, b""


def _read_smiles(text: str, *, sanitise: bool) -> Molecule:
    """Read the first word; what follows a blank is a name, or an extension that is not read."""
    words = text.split(maxsplit=1)
    parameters: Any = Chem.SmilesParserParams()
    parameters.allowCXSMILES = parameters.parseName = False
    parameters.sanitize = parameters.removeHs = sanitise
    return Chem.MolFromSmiles(words[0], parameters) if words else None


def _read_sdf(text: str, *, sanitise: bool) -> Molecule:
    """Read one record; what follows its end is left alone."""
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text.replace("\r\n", "\n"), sanitise, sanitise)
    return supplier[0] if len(supplier) else None


def _read(text: str, written_as: Fact) -> Molecule:
    read = _read_sdf if written_as == "sdf" else _read_smiles
    raw = read(text, sanitise=False)  # cheap, however many rings it has
    if raw is None or not raw.GetNumAtoms():
        raise InvalidContentError("this is no molecule: it cannot be parsed")
    if raw.GetNumAtoms() > _MAX_ATOMS:
        raise LimitExceededError(f"the molecule has more than {_MAX_ATOMS} atoms")
    molecule = read(text, sanitise=True)
    if molecule is None:
        raise InvalidContentError(f"this is no molecule: {_problems(raw)}")
    return molecule


def _problems(raw: Molecule) -> str:
    found = [str(each.Message()) for each in Chem.DetectChemistryProblems(raw)]
    return "; ".join(found[:3]) or "it cannot exist"


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidContentError("the molecule is not valid UTF-8") from error


def _property(molecule: Molecule, name: str) -> str:
    return str(molecule.GetProp(name)) if molecule.HasProp(name) else ""
