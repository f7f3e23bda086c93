"""Molecules: one entity each, from SMILES or a record of an SD file.

SMILES that nothing is to be done to are handed on as they are, and read by the encoder. All else
is read by a toolkit, in a process that may end over it.
"""

from collections.abc import Iterator
from contextlib import closing

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.columns import Columns, attribute_names
from lookalike_ingest.decoding import Decoder, Facts
from lookalike_ingest.encoding import Content
from lookalike_ingest.job import Attributes, MoleculeOptions
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.steps.split import Kind, Part, SplitContext

_SD_ENDS_ATOMS = b"M  END"


class MoleculeSplitter:
    """Reads one molecule."""

    name = "molecule"
    heavy = False

    def __init__(self, options: MoleculeOptions, decoder: Decoder) -> None:
        self._strip_salts = options.strip_salts
        self._decoder = decoder

    @property
    def identity(self) -> str:
        """The first version, with its options."""
        return f"molecule@1,{'stripped' if self._strip_salts else 'as given'}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the molecule. Raises InvalidContentError for what is none."""
        data = original.read()
        if _SD_ENDS_ATOMS in data:
            yield self._decoded(original, "sdf")
        elif self._strip_salts:
            yield self._decoded(original, "smiles")
        else:
            smiles = _first_word(data)
            yield Part(0, Content(Modality.MOLECULE, smiles.encode()), smiles)

    def _decoded(self, original: Original, written_as: str) -> Part:
        arguments: Facts = {"format": written_as, "strip_salts": self._strip_salts}
        with closing(self._decoder.run("molecule", original, arguments)) as molecules:
            for molecule in molecules:
                smiles = str(molecule.facts["smiles"])
                content = Content(Modality.MOLECULE, smiles.encode())
                record, found = _record(molecule.facts), _found(molecule.facts)
                return Part(0, content, smiles, attributes=found, record=record)
        raise InvalidContentError("this is no molecule")


class MoleculeSplitters:
    """Makes the splitters of molecules."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def make(self, context: SplitContext, _kind: Kind) -> MoleculeSplitter:
        """See `MakeSplitter`."""
        return MoleculeSplitter(context.options.molecule, self._decoder)


def _found(facts: Facts) -> Attributes:
    return {name: str(facts[name]) for name in ("name", "inchi_key") if facts.get(name)}


def _record(facts: Facts) -> Attributes:
    """Return an SD record's properties, under the names that columns of tables would get."""
    properties = facts.get("properties")
    if not isinstance(properties, dict):
        return {}
    names = attribute_names(properties, Columns())
    return {names[name]: str(value) for name, value in properties.items() if name in names}


def _first_word(data: bytes) -> str:
    """Return SMILES without the name that may stand behind it."""
    try:
        words = data.decode("utf-8-sig").split(maxsplit=1)
    except UnicodeDecodeError as error:
        raise InvalidContentError("the SMILES is not valid UTF-8") from error
    if not words:
        raise InvalidContentError("the SMILES is empty")
    return words[0]
