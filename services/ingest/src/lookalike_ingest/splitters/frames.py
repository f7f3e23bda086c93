"""One frame of a video, whole, and its objects and tiles: what the image splitter makes of a file.

A frame comes as pixels, perhaps scaled down; places in it count in pixels of the video as it is
shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from lookalike_common.errors import LimitExceededError
from lookalike_ingest.encoding import Content, RawPicture
from lookalike_ingest.image_tiles import count_tiles, tile_boxes
from lookalike_ingest.job import Attributes, ImageOptions
from lookalike_ingest.media_types import Modality
from lookalike_ingest.object_finding import ObjectFinder
from lookalike_ingest.segments import Box, Segment
from lookalike_ingest.splitters.timed import span
from lookalike_ingest.steps.split import Part
from lookalike_media import Box as Region
from lookalike_media import RawImage, crop_image, raw_image


@dataclass(frozen=True, slots=True)
class Frame:
    """A key frame."""

    moment: timedelta
    content: Content
    shown_width: int
    """Pixels of the video as it is shown."""
    shown_height: int


@dataclass(frozen=True, slots=True)
class FrameSplitter:
    """Splits frames."""

    options: ImageOptions
    finder: ObjectFinder
    max_tiles: int
    """Of one frame."""

    @property
    def identity(self) -> str:
        """Everything that other parts follow from."""
        options = self.options
        if not options.detector and not options.tile_pixels:
            return ""
        left_out = "parts only" if options.parts_only else ""
        return f"{self.finder.identity(options)},{options.tile_pixels},{left_out}"

    def split(self, frame: Frame) -> Iterator[Part]:
        """Yield the frame, its objects, the best first, and its tiles; all are numbered 0.

        Raises LimitExceededError for too many tiles, and what the detector says.
        """
        options = self.options
        if not options.parts_only or not (options.detector or options.tile_pixels):
            yield Part(0, frame.content, segment=span(frame.moment, frame.moment))
        boxes: list[tuple[Box, Attributes]] = []
        if options.detector:
            boxes += self._objects(frame)
        if options.tile_pixels:
            boxes += [(box, {}) for box in self._tiles(frame)]
        if not boxes:
            return
        picture = _picture(frame)
        for box, attributes in boxes:
            yield _part(frame, picture, box, attributes)

    def _objects(self, frame: Frame) -> Iterator[tuple[Box, Attributes]]:
        raw = frame.content.raw
        assert isinstance(raw, RawPicture)  # noqa: S101 - frames are made as such
        for each in self.finder.find(frame.content, self.options):
            attributes: Attributes = {"label": each.label, "label_score": round(each.score, 4)}
            yield _shown(each.box, raw, frame), attributes

    def _tiles(self, frame: Frame) -> Iterator[Box]:
        width, height, edge = frame.shown_width, frame.shown_height, self.options.tile_pixels
        if max(width, height) <= edge and not self.options.parts_only:
            return  # the only one would be the whole frame
        tiles = count_tiles(width, height, edge)
        if tiles > self.max_tiles:
            raise LimitExceededError(
                f"{width}x{height} pixels make {tiles} tiles of {edge}; at most {self.max_tiles} "
                "are allowed"
            )
        yield from tile_boxes(width, height, edge)


def _shown(box: Box, raw: RawPicture, frame: Frame) -> Box:
    """Return where something that was found in a scaled frame lies in the video."""
    left = box.x * frame.shown_width // raw.width
    top = box.y * frame.shown_height // raw.height
    right = min(frame.shown_width, -(-(box.x + box.width) * frame.shown_width // raw.width))
    bottom = min(frame.shown_height, -(-(box.y + box.height) * frame.shown_height // raw.height))
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _picture(frame: Frame) -> RawImage:
    raw = frame.content.raw
    assert isinstance(raw, RawPicture)  # noqa: S101 - frames are made as such
    scaled = raw_image(frame.content.data, raw.width, raw.height)
    return replace(scaled, source_width=frame.shown_width, source_height=frame.shown_height)


def _part(frame: Frame, picture: RawImage, box: Box, attributes: Attributes) -> Part:
    cropped = crop_image(picture, Region(box.x, box.y, box.width, box.height))
    content = Content(
        Modality.IMAGE,
        cropped.pixels.tobytes(),
        raw=RawPicture(cropped.width, cropped.height),
    )
    place = replace(box, frame_time=frame.moment)
    return Part(0, content, segment=Segment(place), attributes=attributes)
