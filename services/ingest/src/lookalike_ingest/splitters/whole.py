"""Items that stay whole: what is given as text, a molecule or a sequence, without more ado."""

from collections.abc import Iterator

from lookalike_common.errors import InvalidContentError
from lookalike_common.ids import WHOLE
from lookalike_ingest.encoding import Content
from lookalike_ingest.original import Original
from lookalike_ingest.steps.split import Kind, Part, SplitContext


class WholeSplitter:
    """Leaves texts of any kind whole."""

    name = WHOLE
    heavy = False

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    @classmethod
    def make(cls, _context: SplitContext, kind: Kind) -> "WholeSplitter":
        """See `MakeSplitter`."""
        return cls(kind)

    @property
    def identity(self) -> str:
        """The first version, without options."""
        return f"{WHOLE}@1"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the item as its only part."""
        data = original.read()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidContentError("the text is not valid UTF-8") from error
        yield Part(0, Content(self._kind.modality, data), text)
