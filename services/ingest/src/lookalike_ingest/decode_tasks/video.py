"""Finds the shots of a video and one good frame of each: its key frames.

Arguments: `format` (a media type), `edge` (pixels of a frame's longer side at most), `interval`
(seconds without a key frame at most; 0: one a shot), `optional` (whether a file without pictures,
or with black ones only, is fine). First come the facts about the video (`duration`, `width`,
`height`, `frame_rate`, `codec`), then a key frame each: its `time` in seconds, its `shot` from 0
and when that began (`shot_start`), `width` and `height`, and its pixels: RGB8, upright, rows
without padding. Shots are found among all frames by PySceneDetect, which looks at small copies.
Times are those of the frames themselves, whatever the frame rate does.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, Final

import cv2
import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from scenedetect import ContentDetector, FrameTimecode

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_ingest.decode_tasks.media_file import (
    Clock,
    check_codec,
    check_end,
    declared_seconds,
    frames,
    opened,
)
from lookalike_ingest.decoding import DecodeLimits, Facts

_LOOK_EDGE: Final = 256
"""Pixels of the longer side of the copies that shots are found in."""
_SHORTEST_SHOT: Final = 0.5
"""Seconds; what changes sooner, such as a flash, begins no shot of its own."""
_CHOICE: Final = 1.0
"""Seconds from its first frame with anything to see, among which a shot's sharpest is chosen."""
_SHARPER: Final = 1.1
"""How much sharper a frame must be than the one that was chosen."""
_BLACK_MEAN, _BLACK_SPREAD = 10.0, 5.0
_DEFAULT_RATE: Final = Fraction(25)
_DETECTOR_RATE: Final = 25.0
"""Frames are only counted there; it is told so because it wants to know."""

Pixels = NDArray[np.uint8]
Found = tuple[Facts, bytes]


def run(file: BinaryIO, arguments: Facts, limits: DecodeLimits) -> Iterator[Found | None]:
    """Yield facts, then key frames. Raises UnsupportedMediaError for a file without pictures."""
    optional = bool(arguments["optional"])
    with opened(file, str(arguments["format"]), limits) as container:
        stream = _pictures_of(container)
        if stream is None and optional:
            return
        if stream is None:
            raise UnsupportedMediaError("there are no pictures in it")
        check_codec(stream)
        _check_pixels(stream.width, stream.height, limits)
        step = float(1 / (stream.average_rate or _DEFAULT_RATE))
        chooser = _Chooser(int(str(arguments["edge"])), float(str(arguments["interval"])), stream)
        clock, end = Clock(container, limits), 0.0
        for frame in frames(container, stream, clock):
            if isinstance(frame, VideoFrame):
                _check_pixels(frame.width, frame.height, limits)
                if not end:
                    yield _about(container, stream, frame), b""
                now = clock.read(frame, end)
                end = now + step
                yield from chooser.add(now, frame)
            yield None
        yield from chooser.finish()
        check_end(container, stream, end)
    if not end:
        raise InvalidContentError("there is no picture in it")
    if not chooser.found and not optional:
        raise InvalidContentError("there is nothing to be seen in it: every frame is black")


def _pictures_of(container: InputContainer) -> VideoStream | None:
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic  # the cover of an album
    ]
    return max(moving, key=_pixels, default=None)


def _pixels(stream: VideoStream) -> int:
    context: object = stream.codec_context  # None where the coding is unknown, whatever its type is
    return context.width * context.height if isinstance(context, VideoCodecContext) else 0


def _about(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> Facts:
    rate = stream.average_rate
    width, height = _shown(frame, _aspect(stream))
    if round(frame.rotation / 90) % 2:
        width, height = height, width
    return {
        "duration": round(declared_seconds(container), 3),
        "width": round(width),
        "height": round(height),
        "frame_rate": round(float(rate), 3) if rate else 0.0,
        "codec": check_codec(stream),
    }


def _check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise LimitExceededError(
            f"its frames have {width} x {height} pixels; at most {limits.max_pixels} are allowed"
        )


class _Chooser:
    """Tells shots apart and chooses their key frames; holds one frame."""

    def __init__(self, edge: int, interval: float, stream: VideoStream) -> None:
        self.found = 0
        """Key frames so far."""
        self._edge = edge
        self._interval = interval or float("inf")
        self._aspect = _aspect(stream)
        self._detector = ContentDetector(min_scene_len=0)
        self._frames = 0
        self._shot, self._began = 0, 0.0
        self._key = 0.0  # time of the last key frame, or the beginning
        self._chosen: tuple[float, float, Found] | None = None  # sharpness, and until when to look
        self._settled = False  # whether this shot has its key frame
        self._small, self._large = VideoReformatter(), VideoReformatter()

    def add(self, now: float, frame: VideoFrame) -> Iterator[Found]:
        """Look at the next frame; yield the key frame that is settled by it."""
        look = _scaled(frame, self._small, _LOOK_EDGE, "bgr24", self._aspect)
        if self._is_cut(now, look):
            yield from self.finish()
            self._shot, self._began, self._settled = self._shot + 1, now, False
        if self._chosen is not None and now >= self._chosen[1]:
            yield from self.finish()
        due = now - self._key >= self._interval
        if (not self._settled or due) and not _is_black(look):
            self._consider(now, frame, look)

    def finish(self) -> Iterator[Found]:
        """Yield the frame that was chosen, if one was."""
        if self._chosen is not None:
            self.found += 1
            self._settled = True
            self._key = float(str(self._chosen[2][0]["time"]))
            yield self._chosen[2]
            self._chosen = None

    def _is_cut(self, now: float, look: Pixels) -> bool:
        number = FrameTimecode(self._frames, fps=_DETECTOR_RATE)
        self._frames += 1
        cut = bool(self._detector.process_frame(number, look))
        return cut and now - self._began >= _SHORTEST_SHOT

    def _consider(self, now: float, frame: VideoFrame, look: Pixels) -> None:
        sharpness = _sharpness(look)
        if self._chosen is None:
            until = now if self._settled else min(now + _CHOICE, self._key + self._interval)
        elif sharpness > self._chosen[0] * _SHARPER:
            until = self._chosen[1]
        else:
            return
        pixels = _scaled(frame, self._large, self._edge, "rgb24", self._aspect)
        facts: Facts = {
            "time": round(now, 6),
            "shot": self._shot,
            "shot_start": round(self._began, 6),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
        }
        self._chosen = sharpness, until, (facts, pixels.tobytes())


def _scaled(
    frame: VideoFrame, reformatter: VideoReformatter, edge: int, layout: str, aspect: float
) -> Pixels:
    """Return a frame upright, its pixels square, at most `edge` long: uint8 [rows, columns, 3]."""
    width, height = _shown(frame, aspect)
    scale = min(1.0, edge / max(width, height))
    small = reformatter.reformat(
        frame,
        width=max(2, round(width * scale)),
        height=max(2, round(height * scale)),
        format=layout,
        interpolation=Interpolation.BILINEAR,
    )
    turned = np.rot90(small.to_ndarray(), round(frame.rotation / 90))
    return np.ascontiguousarray(turned, np.uint8)


def _aspect(stream: VideoStream) -> float:
    """Return how much wider than high a pixel is."""
    return float(stream.sample_aspect_ratio or 1)


def _shown(frame: VideoFrame, aspect: float) -> tuple[float, float]:
    """Return width and height with square pixels, not yet turned."""
    return frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)


def _sharpness(look: Pixels) -> float:
    gray = cv2.cvtColor(look, cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def _is_black(look: Pixels) -> bool:
    return float(look.mean()) < _BLACK_MEAN and float(look.std()) < _BLACK_SPREAD
