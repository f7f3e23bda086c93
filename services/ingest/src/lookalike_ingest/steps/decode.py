"""Step 3: what an item is, whether the collection takes it, and how it is to be split.

Kinds that the collection does not take are skipped, unless the caller or the file's name promised
one. The bytes themselves are decoded when they are split, or by the encoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lookalike_common.errors import (
    LookalikeError,
    UnsupportedMediaError,
    WrongModalityError,
)
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.media_types import (
    PREFIX_BYTES,
    STREAMED,
    UNKNOWN,
    Modality,
    claimed_modality,
    detect_media,
    name_text,
)
from lookalike_ingest.original import Blob, Original, check_size, load
from lookalike_ingest.splitters.row import RowSplitters
from lookalike_ingest.steps.split import Kind, MakeSplitter, SplitContext, Splitter
from lookalike_ingest.steps.step import ItemSkippedError, StepError

_MADE_OF: Mapping[Modality, frozenset[Modality]] = {
    Modality.VIDEO: frozenset({Modality.IMAGE, Modality.AUDIO})
}
"""What is never encoded as such, but split into what is."""
_WRITTEN = frozenset({Modality.TEXT, Modality.MOLECULE, Modality.SEQUENCE})
"""What is never mistaken for anything else where the caller says it is that."""


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """How large items may be."""

    memory_bytes: int
    """What is read as a whole; larger files are streamed, if their kind can be."""
    stream_bytes: int
    """Of what is streamed."""


@dataclass(frozen=True, slots=True)
class DecodeInput:
    """Bytes that were found, and what the collection can use."""

    blob: Blob
    context: SplitContext


@dataclass(frozen=True, slots=True)
class DecodeOutput:
    """Bytes that were read and hashed, and who splits them."""

    original: Original
    splitter: Splitter


class DecodeError(StepError):
    """The bytes are not what they should be."""

    step = "decode"


class DecodeStep:
    """Recognises and reads. Blocks: call it in a thread."""

    def __init__(
        self, makers: Mapping[Modality, MakeSplitter], rows: RowSplitters, limits: SizeLimits
    ) -> None:
        self._makers = makers
        self._rows = rows
        self._limits = limits

    def run(self, item: DecodeInput) -> DecodeOutput:
        """Return the item and its splitter.

        Raises DecodeError, ItemSkippedError for what is left out, or OSError while reading.
        """
        try:
            return self._decode(item.blob, item.context)
        except LookalikeError as error:
            asset = asset_name(item.blob.sha256) if item.blob.stored else ""
            raise DecodeError(error, asset=asset) from error

    def _decode(self, blob: Blob, context: SplitContext) -> DecodeOutput:
        if blob.row is not None and blob.row.has_content:
            most = self._limits.memory_bytes
            row = load(blob, UNKNOWN, memory_bytes=most, max_bytes=most)
            return DecodeOutput(row, self._rows.make(context, blob.row))
        prefix = blob.file.read(PREFIX_BYTES)
        found = UNKNOWN if blob.given_as in _WRITTEN else detect_media(prefix)
        detected = name_text(found, prefix, blob.name)
        blob.file.seek(0)
        modality = blob.given_as or detected.modality or claimed_modality(blob.name)
        make = self._makers.get(modality) if modality else None
        if modality is None or make is None or not _takes(context.taken, modality):
            _leave_out(blob, modality, context.taken)
            raise ItemSkippedError
        most = self._limits.memory_bytes
        if modality in STREAMED:
            most = self._limits.stream_bytes
        check_size(blob.size, most)
        kind = Kind(modality, detected, blob.name, blob.size)
        original = load(blob, detected, memory_bytes=self._limits.memory_bytes, max_bytes=most)
        return DecodeOutput(original, make(context, kind))


def _takes(taken: frozenset[Modality], modality: Modality) -> bool:
    return bool(taken & _MADE_OF.get(modality, frozenset({modality})))


def _leave_out(blob: Blob, modality: Modality | None, taken: frozenset[Modality]) -> None:
    """Refuse what was given by name; all else may be skipped."""
    takes = ", ".join(sorted(taken)) or "nothing"
    if blob.given_as is not None:
        raise WrongModalityError(f"the collection takes {takes}, not {modality}")
    if blob.stored:
        raise UnsupportedMediaError(f"these bytes are no {takes} that can be read here")
