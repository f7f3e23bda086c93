"""Images: the whole picture, as its file is; the encoder decodes it."""

from collections.abc import Iterator

from lookalike_common.ids import WHOLE
from lookalike_ingest.encoding import Content
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.steps.split import Kind, Part, SplitContext
from lookalike_media import ImageLimits, probe_image


class ImageSplitter:
    """Checks a picture's header and hands it on."""

    name = WHOLE
    heavy = False

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    @property
    def identity(self) -> str:
        """The first version, without options."""
        return f"{WHOLE}@1"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the whole picture."""
        data = original.read()
        probe_image(data, self._limits)
        yield Part(0, Content(Modality.IMAGE, data, original.media_type.name))


class ImageSplitters:
    """Makes the splitters of images."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    def make(self, _context: SplitContext, _kind: Kind) -> ImageSplitter:
        """See `MakeSplitter`."""
        return ImageSplitter(self._limits)
