"""Splitters outside of a pipeline: what they split, and decoding in the test's own process."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import cast

from lookalike_ingest.decoding import Decoded, DecodeLimits, Facts, Readable
from lookalike_ingest.encoding import Content, EncoderFacts, FoundObject
from lookalike_ingest.entities import AttributeType, Collection
from lookalike_ingest.job import ImageOptions, SplitterOptions
from lookalike_ingest.media_types import (
    PREFIX_BYTES,
    Modality,
    claimed_modality,
    detect_media,
    name_text,
)
from lookalike_ingest.object_finding import ObjectFinder
from lookalike_ingest.original import Original
from lookalike_ingest.steps.split import Kind, MakeSplitter, Part, SplitContext


class InlineDecoder:
    """A `Decoder` that runs the real tasks, without processes."""

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self._limits = limits or DecodeLimits()

    def run(
        self, task: str, original: Readable, arguments: Facts
    ) -> Generator[Decoded, None, None]:
        module = importlib.import_module(f"lookalike_ingest.decode_tasks.{task}")
        with original.open() as file:
            for found in module.run(file, arguments, self._limits):
                if found is not None:
                    yield Decoded(*found)


class PlannedFinder:
    """Finds the objects that a test planned; notes what it was asked."""

    def __init__(self, objects: Sequence[FoundObject] = ()) -> None:
        self.objects = objects
        self.asked: list[tuple[Content, ImageOptions]] = []

    def identity(self, options: ImageOptions) -> str:
        return f"{options.detector}>{options.min_score:g}"

    def find(self, picture: Content, options: ImageOptions) -> Sequence[FoundObject]:
        self.asked.append((picture, options))
        return self.objects


def split_context(
    options: SplitterOptions | None = None,
    *,
    max_tokens: int = 0,
    declared: Mapping[str, AttributeType] | None = None,
    keep_location: bool = False,
    finder: PlannedFinder | None = None,
) -> SplitContext:
    """Return a context of a collection that takes everything."""
    facts = EncoderFacts(frozenset(Modality), preferred_items=8, max_tokens=max_tokens)
    collection = Collection("collections/any", [], attributes=declared or {})
    found = cast("ObjectFinder", finder or PlannedFinder())
    return SplitContext(
        collection, {"encoders/any": facts}, options or SplitterOptions(), keep_location, found
    )


def original_of(data: bytes, name: str = "", given_as: Modality | None = None) -> Original:
    """Return bytes as they are when a splitter gets them."""
    prefix = data[:PREFIX_BYTES]
    media_type = name_text(detect_media(prefix), prefix, name)
    sha256 = hashlib.sha256(data).hexdigest()
    return Original(name, len(data), sha256, media_type, given_as, data=data)


def parts_of(make: MakeSplitter, context: SplitContext, original: Original) -> list[Part]:
    """Split an item."""
    modality = original.given_as or original.media_type.modality or claimed_modality(original.name)
    assert modality is not None
    kind = Kind(modality, original.media_type, original.name, original.size)
    splitter = make(context, kind)
    parts = splitter.split(original)
    with closing(cast("Generator[Part, None, None]", parts)):
        found = list(parts)
    assert [part.index for part in found] == list(range(len(found)))
    return found
