"""What splitters of sounds and videos share: errors at a time, and what was found in a stream."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from lookalike_common.errors import LookalikeError
from lookalike_ingest.asset_store import asset_name
from lookalike_ingest.decoding import TIME, Fact, Facts
from lookalike_ingest.entities import AttributeType, Collection
from lookalike_ingest.job import Attributes
from lookalike_ingest.original import Original
from lookalike_ingest.segments import Segment, TimeSpan
from lookalike_ingest.steps.decode import DecodeError

_FITS: dict[AttributeType, tuple[type, ...]] = {
    AttributeType.STRING: (str,),
    AttributeType.INT: (int,),
    AttributeType.DOUBLE: (int, float),
    AttributeType.JSON: (str, int, float),
}


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


def declared(collection: Collection, names: Sequence[str]) -> Sequence[str]:
    """Return those attributes that the collection declares, in their order."""
    return [name for name in names if name in collection.attributes]


def found(collection: Collection, facts: Facts, names: Sequence[str]) -> Attributes:
    """Return what was found of those attributes, where it is of the type that is declared."""
    return {
        name: facts[name]
        for name in declared(collection, names)
        if isinstance(facts.get(name), _FITS.get(collection.attributes[name], ()))
    }
