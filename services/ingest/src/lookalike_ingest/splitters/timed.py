"""What splitters of sounds and videos share: times."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.decoding import TIME, Fact, Facts
from lookalike_ingest.job import Attributes, Json
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Segment, TimeSpan
from lookalike_ingest.steps.decode import DecodeError


@contextmanager
def failures_placed(original: Original) -> Iterator[None]:
    """Turn an error that tells its time into a DecodeError at that moment of the item."""
    try:
        yield
    except LookalikeError as error:
        if TIME not in error.metadata:
            raise
        moment = seconds(error.metadata[TIME])
        asset = asset_name(original.sha256) if original.stored else ""
        raise DecodeError(error, asset=asset, segment=span(moment, moment)) from error


def seconds(fact: Fact) -> timedelta:
    """Return what a decoder says about a time."""
    return timedelta(seconds=float(str(fact)))


def span(start: timedelta, end: timedelta) -> Segment:
    """Return a stretch of time as a segment."""
    return Segment(TimeSpan(start, end))


def attributes_of(facts: Facts) -> Attributes:
    """Return what is known about a sound or a video; 0 is how a file says that it does not know."""
    found: dict[str, Json] = {name: fact for name, fact in facts.items() if fact}
    return found
