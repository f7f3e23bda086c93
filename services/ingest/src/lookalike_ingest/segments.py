"""Which part of an item an entity, or a failure, is about."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal, TypeAlias


class Strand(StrEnum):
    """Which strand of a nucleotide sequence was read."""

    BOTH = "both"
    """A strand and its reverse complement count as the same."""
    FORWARD = "forward"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A stretch of a sound or a video, counted from its beginning; equal ends mean one instant."""

    start: timedelta
    end: timedelta
    kind: Literal["time"] = "time"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright picture, origin at the top left."""

    x: int
    y: int
    width: int
    height: int
    frame_time: timedelta | None = None
    """Where the picture is a frame of a video."""
    kind: Literal["box"] = "box"


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A stretch of a text, half open, in bytes of its UTF-8 and in code points."""

    start_byte: int
    end_byte: int
    start_char: int
    end_char: int
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class SequenceSpan:
    """A stretch of a nucleotide sequence, half open, from 0 on the forward strand."""

    record: str
    """The record's identifier in its file, where the file has several."""
    start: int
    end: int
    strand: Strand = Strand.BOTH
    kind: Literal["sequence"] = "sequence"


Span: TypeAlias = TimeSpan | Box | TextSpan | SequenceSpan


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an item."""

    span: Span | None = None
    page: int = 0
    """The page of a document, from 1; 0 where there are no pages."""
