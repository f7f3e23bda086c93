"""Attributes and times between the API and the domain; pure."""

from datetime import datetime

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from lookalike_common.errors import InvalidArgumentError
from lookalike_ingest.job import Attributes

RESERVED_ATTRIBUTES = frozenset(
    {"item", "asset", "text", "source_uri", "create_time", "update_time"}
)


def from_struct(struct: Struct, field: str) -> Attributes:
    """Return attributes. Raises InvalidArgumentError below `field`."""
    try:
        attributes: Attributes = MessageToDict(struct)
    except ValueError as error:  # NaN and infinity have no place in JSON
        raise InvalidArgumentError("numbers must be finite", field=field) from error
    for name in RESERVED_ATTRIBUTES & attributes.keys():
        raise InvalidArgumentError("this name is taken", field=f"{field}.{name}")
    return attributes


def to_struct(attributes: Attributes) -> Struct:
    """Return attributes as a message."""
    return ParseDict(dict(attributes), Struct())


def to_timestamp(moment: datetime) -> Timestamp:
    """Return a moment as a message."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
