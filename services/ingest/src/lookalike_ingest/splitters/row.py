"""Rows of tables that say themselves what is to be found: words, a molecule, bases, or vectors."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lookalike_common.errors import InvalidContentError, WrongModalityError
from lookalike_common.ids import WHOLE
from lookalike_ingest.encoding import PackedVector, PackVector
from lookalike_ingest.entities import Collection, GivenField, VectorField
from lookalike_ingest.media_types import MediaType, Modality
from lookalike_ingest.original import Original, Row
from lookalike_ingest.steps.split import Kind, MakeSplitter, Part, SplitContext, Splitter

_FLOAT_BYTES = 4
_VERSION = "row@1"
_WRITTEN = frozenset({Modality.MOLECULE, Modality.SEQUENCE})
"""What an entity's text may be instead of words."""
_MEDIA_TYPES = {
    Modality.TEXT: MediaType("text/plain", Modality.TEXT),
    Modality.MOLECULE: MediaType("chemical/x-daylight-smiles", Modality.MOLECULE),
    Modality.SEQUENCE: MediaType("text/x-sequence", Modality.SEQUENCE),
}


class RowSplitter:
    """Lets what the row says be split like a file of that kind, and adds the given vectors."""

    def __init__(
        self,
        text: str,
        media_type: MediaType | None,
        inner: Splitter | None,
        vectors: Mapping[str, PackedVector],
    ) -> None:
        self._text = text
        self._media_type = media_type
        self._inner = inner
        self._vectors = vectors
        self.name = inner.name if inner else WHOLE
        self.heavy = inner.heavy if inner else False

    @property
    def identity(self) -> str:
        """Of rows, and of who splits what they say."""
        return f"{_VERSION}+{self._inner.identity}" if self._inner else _VERSION

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the parts; a row that brings all its vectors is one."""
        if self._inner is None or self._media_type is None:
            yield Part(0, None, self._text, vectors=self._vectors)
            return
        data = self._text.encode()
        content = replace(
            original,
            name="",
            size=len(data),
            media_type=self._media_type,
            given_as=self._media_type.modality,
            row=None,
            data=data,
            file=None,
        )
        for part in self._inner.split(content):
            yield replace(part, vectors={**part.vectors, **self._vectors})


class RowSplitters:
    """Makes the splitters of rows."""

    def __init__(self, makers: Mapping[Modality, MakeSplitter], pack: PackVector) -> None:
        self._makers = makers
        self._pack = pack

    def make(self, context: SplitContext, row: Row) -> RowSplitter:
        """Return who splits a row.

        Raises InvalidContentError for vectors that do not fit the collection, WrongModalityError
        for a kind that it does not take.
        """
        collection = context.collection
        vectors = self._vectors(collection, row)
        modality, text = _content(row)
        if row.copied and modality not in context.taken and len(context.taken & _WRITTEN) == 1:
            (modality,) = context.taken & _WRITTEN
        fields = {each.name for each in collection.fields}
        fields |= {each.name for each in collection.given}
        if modality is None or fields <= vectors.keys():
            return RowSplitter(text, None, None, vectors)
        media_type = _MEDIA_TYPES[modality]
        make = self._makers.get(modality)
        if modality not in context.taken or make is None:
            takes = ", ".join(sorted(context.taken)) or "only given vectors"
            raise WrongModalityError(f"the collection takes {takes}, not {modality}")
        inner = make(context, Kind(modality, media_type, "", len(text.encode())))
        return RowSplitter(text, media_type, inner, vectors)

    def _vectors(self, collection: Collection, row: Row) -> Mapping[str, PackedVector]:
        fields: dict[str, VectorField | GivenField] = {each.name: each for each in collection.given}
        fields |= {each.name: each for each in collection.fields}
        vectors: dict[str, PackedVector] = {}
        for name, components in row.vectors.items():
            field, count = fields.get(name), len(components) // _FLOAT_BYTES
            if field is None:
                raise InvalidContentError(f"the collection has no vector field {name!r}")
            if field.dimensions not in {0, count}:
                raise InvalidContentError(
                    f"the vector has {count} components; {name!r} takes {field.dimensions}"
                )
            vectors[name] = self._pack(components, binary=field.binary)
        return vectors


def _content(row: Row) -> tuple[Modality | None, str]:
    if row.smiles:
        return Modality.MOLECULE, row.smiles
    if row.sequence:
        return Modality.SEQUENCE, row.sequence
    text = "\n\n".join(each for each in (row.title, row.text) if each)
    return (Modality.TEXT if text else None), text
