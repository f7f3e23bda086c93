"""Where the bytes of one item lie, in a form that a job store can keep.

A place is written when a source is listed and read when the item's turn comes, perhaps after a
restart, so it names everything that is needed and nothing that a caller could bend: paths were
resolved under a root before they got here, and are checked again when they are opened.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter

SpooledContent: TypeAlias = Literal["image", "audio", "text", "smiles", "sequence"]
"""What bytes given in a request are; they say so themselves."""

OsPath: TypeAlias = Annotated[
    str,
    PlainSerializer(lambda path: quote_from_bytes(os.fsencode(path)), return_type=str),
    PlainValidator(lambda kept: os.fsdecode(unquote_to_bytes(kept))),
]
"""A path of this machine: any bytes, which JSON cannot hold, so they are percent-encoded in it."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file under a configured root, by its resolved path."""

    path: OsPath
    kind: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class AssetPlace:
    """Stored bytes of the job's tenant, by their SHA-256 in hex."""

    sha256: str
    kind: Literal["asset"] = "asset"


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Bytes that came in the request, kept in the job's spool file."""

    offset: int
    length: int
    content: SpooledContent
    kind: Literal["spool"] = "spool"


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """One member of a zip archive, as the archive's directory describes it."""

    archive: Annotated[FilePlace | AssetPlace, Field(discriminator="kind")]
    archive_size: int
    name: str
    header_offset: int
    compressed_size: int
    size: int
    method: int
    crc: int
    kind: Literal["member"] = "member"


Place: TypeAlias = FilePlace | AssetPlace | SpoolPlace | MemberPlace
"""Any of them; a new kind of place is one class more here, with a `kind` of its own."""

# A TypeAdapter of an annotated union has no type that mypy could spell.
_ADAPTER: TypeAdapter[Place] = TypeAdapter(Annotated[Place, Field(discriminator="kind")])


def place_to_text(place: Place) -> str:
    """Write a place as JSON; equal places give equal text."""
    return _ADAPTER.dump_json(place).decode()


def place_from_text(text: str) -> Place:
    """Read what `place_to_text` wrote."""
    return _ADAPTER.validate_json(text)
