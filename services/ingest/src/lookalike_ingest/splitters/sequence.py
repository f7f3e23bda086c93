"""Nucleotide sequences: whole records, or windows of them, of one strand or of both.

Where a strand and its reverse complement count as the same, what is encoded is the earlier of the
two in the alphabet, so that both give the same vector whatever the encoder. Windows that are
mostly gaps of an assembly are left out.
"""

from collections.abc import Iterator
from typing import Final

from lookalike_ingest.encoding import Content
from lookalike_ingest.job import SequenceOptions
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Segment, SequenceSpan, Strand
from lookalike_ingest.sequence_record import (
    Window,
    canonical_strand,
    cut_windows,
    read_record,
    reverse_complement,
)
from lookalike_ingest.steps.split import Kind, Part, SplitContext

_MAX_TEXT_BYTES: Final = 65_535
_LIGHT_BYTES: Final = 1 << 16


class SequenceSplitter:
    """Cuts one record."""

    name = "sequence"

    def __init__(self, options: SequenceOptions, *, heavy: bool) -> None:
        self._window = options.window
        self._step = options.step or max(1, options.window // 2)
        self._both_strands = options.both_strands
        self.heavy = heavy

    @property
    def identity(self) -> str:
        """The first version, with its options."""
        strands = "both" if self._both_strands else "one"
        return f"sequence@1,{self._window},{self._step if self._window else 0},{strands}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the windows; of a record that is one window, the whole.

        Raises InvalidContentError for letters that stand for no base.
        """
        index = 0
        with original.open() as file:
            record = read_record(file)
            windows = cut_windows(record.pieces, self._window, self._step)
            first = next(windows, None)
            if first is None:
                return
            second = next(windows, None)
            whole = second is None
            for window in _chain(first, second, windows):
                if not whole and not window.known:
                    continue
                for part in self._strands(index, record.name, window, whole=whole):
                    yield part
                    index += 1

    def _strands(self, index: int, name: str, window: Window, *, whole: bool) -> Iterator[Part]:
        if self._both_strands:
            forward, reverse = window.bases, reverse_complement(window.bases)
            yield _part(index, name, window, forward, Strand.FORWARD)
            yield _part(index + 1, name, window, reverse, Strand.REVERSE)
            return
        part = _part(index, name, window, canonical_strand(window.bases), Strand.BOTH)
        yield Part(part.index, part.content, part.text) if whole else part


class SequenceSplitters:
    """Makes the splitters of sequences."""

    @staticmethod
    def make(context: SplitContext, kind: Kind) -> SequenceSplitter:
        """See `MakeSplitter`."""
        return SequenceSplitter(context.options.sequence, heavy=kind.size > _LIGHT_BYTES)


def _part(index: int, name: str, window: Window, bases: bytes, strand: Strand) -> Part:
    """Return a part; its text is what was given, as long as an entity's text can be."""
    content = Content(Modality.SEQUENCE, bases)
    given = bases if strand is Strand.REVERSE else window.bases
    text = given.decode() if len(given) <= _MAX_TEXT_BYTES else ""
    span = SequenceSpan(name, window.start, window.end, strand)
    return Part(index, content, text, Segment(span))


def _chain(first: Window, second: Window | None, rest: Iterator[Window]) -> Iterator[Window]:
    yield first
    if second is not None:
        yield second
        yield from rest
