"""Videos: the key frames of their shots with what is in them, then their sound as windows."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from lookalike_ingest.decoding import Decoded, Decoder, Facts
from lookalike_ingest.encoding import Content, RawPicture
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.splitters.audio import AudioSplitters, Windows, windows_of
from lookalike_ingest.splitters.frames import Frame, FrameSplitter
from lookalike_ingest.splitters.timed import attributes_of, failures_placed, seconds
from lookalike_ingest.steps.split import Kind, Part, SplitContext


class VideoSplitter:
    """Splits a video into what the collection takes of it."""

    name = "video"
    heavy = True

    def __init__(
        self,
        decoder: Decoder,
        context: SplitContext,
        frames: FrameSplitter,
        windows: Windows | None,
        *,
        edge: int,
    ) -> None:
        self._decoder = decoder
        self._pictures = Modality.IMAGE in context.taken
        self._windows = windows
        interval = context.options.video.max_interval
        self._interval = interval.total_seconds() if interval else 0.0
        self._edge = edge
        self._frame_splitter = frames

    @property
    def identity(self) -> str:
        """The first version, what is taken, and how it is cut."""
        parts = self._frame_splitter.identity
        frames = f"{self._interval:g},{self._edge},{parts}" if self._pictures else ""
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
            for part in self._parts(original):
                yield replace(part, index=count)
                count += 1
        if self._windows:
            yield from windows_of(
                self._decoder,
                original,
                self._windows,
                first=count,
                optional=self._pictures,
            )

    def _parts(self, original: Original) -> Iterator[Part]:
        arguments: Facts = {
            "format": original.media_type.name,
            "edge": self._edge,
            "interval": self._interval,
            "optional": self._windows is not None,
        }
        decoded = self._decoder.run("video", original, arguments)
        about: Facts = {}
        with failures_placed(original), closing(decoded):
            for each in decoded:
                if not each.data:
                    about = each.facts
                    continue
                attributes = attributes_of(about)
                for part in self._frame_splitter.split(_frame(each, about)):
                    yield replace(part, attributes={**attributes, **part.attributes})


class VideoSplitters:
    """Makes the splitters of videos."""

    def __init__(
        self, decoder: Decoder, sounds: AudioSplitters, *, edge: int, max_tiles: int
    ) -> None:
        self._decoder = decoder
        self._sounds = sounds
        self._edge = edge
        self._max_tiles = max_tiles

    def make(self, context: SplitContext, _kind: Kind) -> VideoSplitter:
        """See `MakeSplitter`. Raises LimitExceededError for windows that no encoder takes."""
        listens = Modality.AUDIO in context.taken and not context.options.video.skip_audio
        windows = self._sounds.windows(context) if listens else None
        frames = FrameSplitter(context.options.video.frames, context.finder, self._max_tiles)
        return VideoSplitter(self._decoder, context, frames, windows, edge=self._edge)


def _frame(decoded: Decoded, about: Facts) -> Frame:
    width, height = int(str(decoded.facts["width"])), int(str(decoded.facts["height"]))
    return Frame(
        seconds(decoded.facts["time"]),
        Content(Modality.IMAGE, decoded.data, raw=RawPicture(width, height)),
        max(width, int(str(about["width"]))),
        max(height, int(str(about["height"]))),
    )
