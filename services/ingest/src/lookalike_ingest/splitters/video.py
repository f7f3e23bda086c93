"""Videos: the key frames of their shots, then their sound as windows."""

from collections.abc import Iterator
from contextlib import closing

from lookalike_ingest.decoding import Decoder, Facts
from lookalike_ingest.encoding import Content, RawPicture
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.splitters.audio import AudioSplitters, Windows, windows_of
from lookalike_ingest.splitters.timed import attributes_of, failures_placed, seconds, span
from lookalike_ingest.steps.split import Kind, Part, SplitContext


class VideoSplitter:
    """Splits a video into what the collection takes of it."""

    name = "video"
    heavy = True

    def __init__(
        self, decoder: Decoder, context: SplitContext, windows: Windows | None, edge: int
    ) -> None:
        self._decoder = decoder
        self._pictures = Modality.IMAGE in context.taken
        self._windows = windows
        interval = context.options.video.max_interval
        self._interval = interval.total_seconds() if interval else 0.0
        self._edge = edge

    @property
    def identity(self) -> str:
        """The first version, what is taken, and how it is cut."""
        frames = f"{self._interval:g},{self._edge}" if self._pictures else ""
        windows = self._windows.identity if self._windows else ""
        return f"{self.name}@1;{frames};{windows}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield key frames and windows of sound, as far as there are any.

        Raises UnsupportedMediaError for a video without what the collection takes,
        InvalidContentError where that is black or silent, LimitExceededError, and DecodeError at
        the time of damage.
        """
        count = 0
        if self._pictures:
            for part in self._frames(original):
                count += 1
                yield part
        if self._windows:
            yield from windows_of(
                self._decoder,
                original,
                self._windows,
                first=count,
                optional=self._pictures,
            )

    def _frames(self, original: Original) -> Iterator[Part]:
        arguments: Facts = {
            "format": original.media_type.name,
            "edge": self._edge,
            "interval": self._interval,
            "optional": self._windows is not None,
        }
        decoded = self._decoder.run("video", original, arguments)
        about: Facts = {}
        index = 0
        with failures_placed(original), closing(decoded):
            for each in decoded:
                if not each.data:
                    about = each.facts
                    continue
                moment = seconds(each.facts["time"])
                size = RawPicture(int(str(each.facts["width"])), int(str(each.facts["height"])))
                yield Part(
                    index,
                    Content(Modality.IMAGE, each.data, raw=size),
                    segment=span(moment, moment),
                    attributes=attributes_of(about),
                )
                index += 1


class VideoSplitters:
    """Makes the splitters of videos."""

    def __init__(self, decoder: Decoder, sounds: AudioSplitters, edge: int) -> None:
        self._decoder = decoder
        self._sounds = sounds
        self._edge = edge

    def make(self, context: SplitContext, _kind: Kind) -> VideoSplitter:
        """See `MakeSplitter`. Raises LimitExceededError for windows that no encoder takes."""
        listens = Modality.AUDIO in context.taken and not context.options.video.skip_audio
        windows = self._sounds.windows(context) if listens else None
        return VideoSplitter(self._decoder, context, windows, self._edge)
