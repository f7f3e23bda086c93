"""Sounds: windows of one channel, those without any sound left out."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

from lookalike_common.errors import LimitExceededError
from lookalike_ingest.decoding import Decoder, Facts
from lookalike_ingest.encoding import Content, RawSound
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Original
from lookalike_ingest.splitters.timed import attributes_of, failures_placed, seconds, span
from lookalike_ingest.steps.split import Kind, Part, SplitContext

SAMPLE_RATE = 16_000
"""Of the windows: what encoders of sounds are made for, as far as any is known."""
_WINDOW = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Windows:
    """How sound is cut."""

    window: timedelta
    hop: timedelta
    shortest: timedelta
    """What the encoder takes at least; a last window that is shorter begins earlier."""
    quiet: float
    """Decibels below full scale."""
    keep_quiet: bool

    @property
    def identity(self) -> str:
        """Everything that other windows follow from."""
        times = (self.window, self.hop, self.shortest)
        numbers = [f"{each.total_seconds():g}" for each in times]
        return ",".join([*numbers, f"{self.quiet:g}", f"{self.keep_quiet:d}"])

    def arguments(self, media_type: str, *, optional: bool) -> Facts:
        """Return the arguments of the `audio` task."""
        return {
            "format": media_type,
            "rate": SAMPLE_RATE,
            "window": self.window.total_seconds(),
            "hop": self.hop.total_seconds(),
            "shortest": self.shortest.total_seconds(),
            "quiet": self.quiet,
            "keep_quiet": self.keep_quiet,
            "optional": optional,
        }


class AudioSplitter:
    """Cuts a sound."""

    name = "audio"
    heavy = True

    def __init__(self, decoder: Decoder, windows: Windows) -> None:
        self._decoder = decoder
        self._windows = windows

    @property
    def identity(self) -> str:
        """The first version, and how it cuts."""
        return f"{self.name}@1;{self._windows.identity}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the windows that are worth to be found.

        Raises InvalidContentError for a sound that is silent, UnsupportedMediaError and
        LimitExceededError, DecodeError at the time of damage.
        """
        return windows_of(self._decoder, original, self._windows)


def windows_of(
    decoder: Decoder,
    original: Original,
    windows: Windows,
    *,
    first: int = 0,
    optional: bool = False,
) -> Iterator[Part]:
    """Yield the windows of a sound, or of a video's sound track, numbered from `first`.

    An `optional` sound may be missing, or silent.
    """
    arguments = windows.arguments(original.media_type.name, optional=optional)
    numbers = count(first)
    about: Facts = {}
    with failures_placed(original), closing(decoder.run("audio", original, arguments)) as decoded:
        for each in decoded:
            if not each.data:
                about = each.facts
                continue
            yield Part(
                next(numbers),
                Content(Modality.AUDIO, each.data, raw=RawSound(SAMPLE_RATE)),
                segment=span(seconds(each.facts["start"]), seconds(each.facts["end"])),
                attributes=attributes_of(about),
            )


class AudioSplitters:
    """Makes the splitters of sounds."""

    def __init__(self, decoder: Decoder, quiet: float) -> None:
        self._decoder = decoder
        self._quiet = quiet

    def make(self, context: SplitContext, _kind: Kind) -> AudioSplitter:
        """See `MakeSplitter`. Raises LimitExceededError for windows that no encoder takes."""
        return AudioSplitter(self._decoder, self.windows(context))

    def windows(self, context: SplitContext) -> Windows:
        """Return how sound is cut for a collection."""
        listeners = [
            facts for facts in context.encoders.values() if Modality.AUDIO in facts.modalities
        ]
        longest = min(
            (facts.max_duration for facts in listeners if facts.max_duration), default=_WINDOW
        )
        asked = context.options.audio
        window = asked.window or min(_WINDOW, longest)
        if window > longest:
            raise LimitExceededError(
                f"the encoder takes {longest.total_seconds():g} s of sound at most",
                field="job.splitter.audio.window",
            )
        shortest = max((facts.min_duration for facts in listeners), default=timedelta(0))
        return Windows(window, asked.hop or window / 2, shortest, self._quiet, asked.keep_silence)
