"""Opens videos and sounds for the tasks: the format is told, never guessed, and nothing else opens.

FFmpeg's formats include playlists and patterns of file names that read whatever they name. Here a
format comes from an item's first bytes, the list has none of those, and every wish to open a second
file is refused. (The process could not open one anyway.)
"""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, Never, TypeAlias

import av
import av.error
from av import AudioFrame, VideoFrame
from av.container import InputContainer
from av.stream import Stream

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_ingest.decoding import TIME, DecodeLimits

MediaFrame: TypeAlias = VideoFrame | AudioFrame

FORMATS: Final = {
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/amr": "amr",
    "audio/basic": "au",
    "audio/flac": "flac",
    "audio/mp4": "mov",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/x-caf": "caf",
    "video/mp2t": "mpegts",
    "video/mp4": "mov",
    "video/mpeg": "mpeg",
    "video/ogg": "ogg",
    "video/quicktime": "mov",
    "video/x-flv": "flv",
    "video/x-matroska": "matroska",
    "video/x-ms-asf": "asf",
    "video/x-msvideo": "avi",
}
"""FFmpeg's demuxers by media type."""

_CODECS: Final = (
    "aac ac3 adpcm_ima_qt adpcm_ima_wav adpcm_ms alac amrnb amrwb av1 cinepak dnxhd dvvideo eac3 "
    "ffv1 flac flv h263 h264 hevc huffyuv mjpeg mp1 mp1float mp2 mp2float mp3 mp3float mpeg1video "
    "mpeg2video mpeg4 msmpeg4v1 msmpeg4v2 msmpeg4 msmpeg4v3 opus libopus pcm_alaw pcm_f32be "
    "pcm_f32le pcm_f64be pcm_f64le pcm_mulaw pcm_s16be pcm_s16le pcm_s24be pcm_s24le pcm_s32be "
    "pcm_s32le pcm_s8 pcm_u8 png prores qtrle rawvideo rv40 svq1 svq3 theora vc1 vorbis vp6f vp8 "
    "libvpx vp9 libvpx-vp9 libdav1d libvorbis wmav1 wmav2 wmapro wmv1 wmv2 wmv3"
)
"""What is decoded. FFmpeg has hundreds more, that nobody meets and hardly anybody tests."""

_ESTIMATED: Final = frozenset({"aac", "amr", "mp3", "mpeg", "mpegts"})
"""Formats whose files do not say how long they last; FFmpeg guesses by their bit rate."""
_LENIENT: Final = frozenset({"flv", "mpeg", "mpegts"})
"""Formats that are cut out of broadcasts: what comes before their first whole picture is lost."""
_NOT_NEEDED: Final = frozenset({"av.__main__", "av.datasets"})
_MISSING_SECONDS: Final = 1.0
_MISSING_SHARE: Final = 0.05
_BUFFER_BYTES: Final = 1 << 20


@contextmanager
def opened(file: BinaryIO, media_type: str, limits: DecodeLimits) -> Iterator[InputContainer]:
    """Open a file. Raises UnsupportedMediaError, InvalidContentError or LimitExceededError."""
    name = FORMATS.get(media_type)
    if name is None:
        raise UnsupportedMediaError(f"{media_type or 'this'} is no sound or video to be read here")
    with _failures("its header is damaged or cut off"):
        container: InputContainer = av.open(
            file,
            "r",
            format=name,
            io_open=_refuse_to_open,
            buffer_size=_BUFFER_BYTES,
            metadata_errors="replace",
        )
    with container:
        declared = declared_seconds(container)
        _check_seconds(declared, limits)
        yield container


def declared_seconds(container: InputContainer) -> float:
    """Return how long the file says that it lasts; 0 where it does not say."""
    return container.duration / av.time_base if container.duration else 0.0


def start_seconds(container: InputContainer) -> float:
    """Return the time stamp at which the file begins."""
    return container.start_time / av.time_base if container.start_time else 0.0


def check_codec(stream: Stream) -> str:
    """Return the codec's name, such as `h264`. Raises UnsupportedMediaError."""
    if stream.codec_context is None:
        raise UnsupportedMediaError("its coding is unknown")
    name: str = stream.codec_context.name
    if name not in _CODECS.split():
        raise UnsupportedMediaError(f"{name} is not decoded here")
    codec: str = stream.codec_context.codec.canonical_name
    return codec


def _import_all() -> None:
    """Import the parts of av that it would import when it meets such a stream: too late here."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _NOT_NEEDED:
            importlib.import_module(module.name)


class Clock:
    """Turns time stamps into seconds from the beginning, which never run backwards."""

    def __init__(self, container: InputContainer, limits: DecodeLimits) -> None:
        self._start = start_seconds(container)
        self._limits = limits
        self.now = 0.0
        """Of the last frame."""

    def read(self, frame: MediaFrame, otherwise: float) -> float:
        """Return a frame's time; `otherwise` where it has none. Raises LimitExceededError."""
        seconds = otherwise
        if frame.pts is not None and frame.time_base is not None:
            seconds = float(frame.pts * frame.time_base) - self._start
        self.now = max(self.now, seconds)
        _check_seconds(self.now, self._limits)
        return self.now


def frames(container: InputContainer, stream: Stream, clock: Clock) -> Iterator[MediaFrame]:
    """Decode a stream. Raises InvalidContentError, with the time, where it is damaged."""
    lenient, begun = container.format.name.split(",")[0] in _LENIENT, False
    with _failures("it is damaged or cut off", clock):
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                if begun or not lenient:
                    raise
                continue
            for frame in decoded:
                if not isinstance(frame, VideoFrame | AudioFrame):
                    continue
                if frame.is_corrupt:
                    if begun or not lenient:
                        raise InvalidContentError(
                            f"it is damaged at {clock.now:.3f} s",
                            metadata={TIME: f"{clock.now:.3f}"},
                        )
                    continue
                begun = True
                yield frame


def check_end(container: InputContainer, stream: Stream, seconds: float) -> None:
    """Refuse a stream that breaks off. `seconds` is where its last frame ends."""
    declared = _declared_end(container, stream)
    if declared - seconds > max(_MISSING_SECONDS, declared * _MISSING_SHARE):
        raise InvalidContentError(
            f"it breaks off at {seconds:.3f} s of {declared:.3f} s",
            metadata={TIME: f"{seconds:.3f}"},
        )


def _declared_end(container: InputContainer, stream: Stream) -> float:
    """Return where a stream should end; 0 where nobody says."""
    if container.format.name.split(",")[0] in _ESTIMATED:
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska's
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        alone = len(container.streams.audio) + len(container.streams.video) == 1
        return declared_seconds(container) if alone else 0.0


@contextmanager
def _failures(words: str, clock: Clock | None = None) -> Iterator[None]:
    """Translate FFmpeg's errors."""
    place = {} if clock is None else {TIME: f"{clock.now:.3f}"}
    try:
        yield
    except MemoryError:
        raise  # av's is one, too
    except (av.error.FFmpegError, EOFError, UnicodeError) as error:
        if clock is not None:
            place, words = {TIME: f"{clock.now:.3f}"}, f"{words} at {clock.now:.3f} s"
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidContentError(f"{words}: {reason}"[:300], metadata=place) from error


def _check_seconds(seconds: float, limits: DecodeLimits) -> None:
    most = limits.max_duration.total_seconds()
    if seconds > most:
        raise LimitExceededError(f"it lasts {seconds:.1f} s; at most {most:.1f} s are allowed")


def _refuse_to_open(*_arguments: object) -> Never:
    raise InvalidContentError("it wants to have another file opened")


_import_all()
