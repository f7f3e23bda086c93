"""Images: the whole picture, as its file is, and tiles and objects of it, as pixels.

The encoder decodes whole pictures. For parts a picture is decoded once, in a process of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from lookalike_common.errors import InvalidContentError, LimitExceededError
from lookalike_ingest.decoding import Decoder, Facts
from lookalike_ingest.encoding import Content, FoundObject, RawPicture
from lookalike_ingest.image_tiles import count_tiles
from lookalike_ingest.job import Attributes, ImageOptions, Json
from lookalike_ingest.media_types import Modality
from lookalike_ingest.object_finding import ObjectFinder
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Box, Segment
from lookalike_ingest.steps.split import Kind, Part, SplitContext
from lookalike_media import ImageHeader, ImageLimits, probe_image, read_exif

CAMERA: Final = frozenset({"camera_make", "camera_model", "taken_at"})
LOCATION: Final = frozenset({"latitude", "longitude", "altitude"})


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What is done to the pictures of a job."""

    options: ImageOptions
    detector: str
    """What decides which objects are found."""
    camera: bool
    """Whether the collection asks for what a camera wrote into its pictures."""
    location: bool
    """Whether that includes where they were taken."""

    @property
    def parts(self) -> bool:
        """Whether there are any parts."""
        return bool(self.options.detector or self.options.tile_pixels)


class ImageSplitter:
    """Checks a picture's header, hands it on, and cuts parts out of it."""

    name = "image"

    def __init__(
        self,
        rules: ImageRules,
        limits: ImageLimits,
        *,
        max_parts: int,
        decoder: Decoder,
        finder: ObjectFinder,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._max_parts = max_parts
        self._decoder = decoder
        self._finder = finder
        self.heavy = rules.parts

    @property
    def identity(self) -> str:
        """The first version, with its options."""
        rules, options = self._rules, self._rules.options
        left_out = "parts only" if rules.parts and options.parts_only else ""
        place = "place" if rules.location else ""
        return f"image@1,{rules.detector},{options.tile_pixels},{left_out},{place}"

    def split(self, original: Original) -> Iterator[Part]:
        """Yield the picture, its objects, the best first, and its tiles, row by row.

        Raises LimitExceededError for too many tiles.
        """
        data = original.read()
        header = probe_image(data, self._limits)
        found = self._attributes(data, header)
        whole = Content(Modality.IMAGE, data, original.media_type.name)
        if not self._rules.parts:
            yield Part(0, whole, attributes=found)
            return
        self._check_tiles(header)
        index = 0
        if not self._rules.options.parts_only:
            yield Part(index, whole, attributes=found)
            index += 1
        for part in self._parts(original, whole, header):
            yield replace(part, index=index, attributes={**found, **part.attributes})
            index += 1

    def _parts(self, original: Original, whole: Content, header: ImageHeader) -> Iterator[Part]:
        options = self._rules.options
        objects = self._finder.find(whole, options) if options.detector else ()
        tile_pixels = options.tile_pixels
        if not options.parts_only and max(header.width, header.height) <= tile_pixels:
            tile_pixels = 0  # the only one would be the whole picture
        if not objects and not tile_pixels:
            return
        boxes: list[Json] = [_numbers(each.box) for each in objects]
        arguments: Facts = {"boxes": boxes, "tile_pixels": tile_pixels}
        with closing(self._decoder.run("image_parts", original, arguments)) as cuts:
            for number, cut in enumerate(cuts):
                named = _object(objects[number]) if number < len(objects) else {}
                yield _part(cut.facts, cut.data, named)

    def _check_tiles(self, header: ImageHeader) -> None:
        edge = self._rules.options.tile_pixels
        tiles = count_tiles(header.width, header.height, edge) if edge else 0
        if tiles > self._max_parts:
            raise LimitExceededError(
                f"{header.width}x{header.height} pixels make {tiles} tiles of {edge}; at most "
                f"{self._max_parts} are allowed"
            )

    def _attributes(self, data: bytes, header: ImageHeader) -> Attributes:
        found: dict[str, Json] = {"width": header.width, "height": header.height}
        if not self._rules.camera:
            return found
        exif = read_exif(data, header)
        found |= {
            name: value
            for name, value in (
                ("camera_make", exif.camera_make),
                ("camera_model", exif.camera_model),
                ("taken_at", exif.taken_at.isoformat() if exif.taken_at else ""),
            )
            if value
        }
        if self._rules.location and exif.location:
            found["latitude"] = exif.location.latitude
            found["longitude"] = exif.location.longitude
            if exif.location.altitude is not None:
                found["altitude"] = exif.location.altitude
        return found


class ImageSplitters:
    """Makes the splitters of images."""

    def __init__(self, decoder: Decoder, limits: ImageLimits, *, max_parts: int) -> None:
        self._decoder = decoder
        self._limits = limits
        self._max_parts = max_parts

    def make(self, context: SplitContext, _kind: Kind) -> ImageSplitter:
        """See `MakeSplitter`."""
        declared: Mapping[str, object] = context.collection.attributes
        location = context.keep_location and not LOCATION.isdisjoint(declared)
        options = context.options.image
        rules = ImageRules(
            options=options,
            detector=context.finder.identity(options),
            camera=location or not CAMERA.isdisjoint(declared),
            location=location,
        )
        return ImageSplitter(
            rules,
            self._limits,
            max_parts=self._max_parts,
            decoder=self._decoder,
            finder=context.finder,
        )


def _numbers(box: Box) -> Json:
    return [box.x, box.y, box.width, box.height]


def _object(found: FoundObject) -> Attributes:
    return {"label": found.label, "label_score": round(found.score, 4)}


def _part(facts: Facts, pixels: bytes, attributes: Attributes) -> Part:
    match facts:
        case {"x": int(x), "y": int(y), "width": int(width), "height": int(height)}:
            content = Content(Modality.IMAGE, pixels, raw=RawPicture(width, height))
            segment = Segment(Box(x, y, width, height))
            return Part(0, content, segment=segment, attributes=attributes)
        case _:
            raise InvalidContentError("a part of the picture has no place")
