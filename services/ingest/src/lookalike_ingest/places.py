"""Where the bytes of one item lie, in a form that a job store can keep.

A place is written when a source is listed and read when the item's turn comes, perhaps after a
restart, so it names everything that is needed and nothing that a caller could bend: paths were
resolved under a root before they got here, and are checked again when they are opened.
"""

import os
from collections.abc import Mapping
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
    name: str = ""
    """What a file with these bytes would be called, where their source does not say."""


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Bytes that came in the request, kept in the job's spool file."""

    offset: int
    length: int
    content: SpooledContent
    kind: Literal["spool"] = "spool"


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """An object in a configured object store."""

    store: str
    """The configured prefix, `s3://bucket/prefix/`."""
    key: str
    """Below the prefix."""
    etag: str
    """Of the object that was listed; empty for whichever is there."""
    size: int
    """Negative where nobody asked yet."""
    kind: Literal["object"] = "object"


@dataclass(frozen=True, slots=True)
class WebPlace:
    """A file on the web, under an allowed prefix."""

    url: str
    etag: str
    """Or when it was changed last, where the server says no more; empty for whichever is there."""
    size: int
    """Negative where nobody asked yet, or the server does not say."""
    kind: Literal["web"] = "web"


RemotePlace: TypeAlias = ObjectPlace | WebPlace
"""What lies elsewhere."""

WholePlace: TypeAlias = FilePlace | AssetPlace | RemotePlace
"""What lies in nothing else."""


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """One member of a zip archive, as the archive's directory describes it."""

    archive: Annotated[WholePlace, Field(discriminator="kind")]
    archive_size: int
    name: str
    header_offset: int
    compressed_size: int
    size: int
    method: int
    crc: int
    kind: Literal["member"] = "member"


ContainerPlace: TypeAlias = WholePlace | MemberPlace
"""What may hold other items."""

Compression: TypeAlias = Literal["", "gzip", "zstd"]
"""How a file is packed as a whole; empty for not at all."""


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """A stretch of a container, unpacked: a member of a tar archive, a record, a row."""

    container: Annotated[ContainerPlace, Field(discriminator="kind")]
    compression: Compression
    offset: int
    """In the unpacked bytes."""
    length: int
    """Negative: up to the end."""
    name: str
    """What a file with these bytes would be called; its suffix may say what they are."""
    format: str = ""
    """What the bytes are where they are no file of their own: `csv`, `fasta` and such."""
    line: int = 0
    """The line or record in the container, from 1; 0 where there are none."""
    version: str = ""
    """Which state of the container was listed, see `Containers.version`; empty for any."""
    kind: Literal["slice"] = "slice"


@dataclass(frozen=True, slots=True)
class ParquetPlace:
    """One row of a Parquet file."""

    container: Annotated[ContainerPlace, Field(discriminator="kind")]
    row_group: int
    row: int
    """In its row group, from 0."""
    line: int
    """In the file, from 1."""
    version: str = ""
    """Which state of the file was listed, see `Containers.version`; empty for any."""
    kind: Literal["parquet"] = "parquet"


@dataclass(frozen=True, slots=True)
class EntityPlace:
    """What another collection has of an entity that says all itself."""

    text: str
    vectors: Mapping[str, str]
    """By vector field: little-endian float32, in hex."""
    asset: str
    """The SHA-256 of the stored original that is this very text; empty for none."""
    kind: Literal["entity"] = "entity"


Place: TypeAlias = EntityPlace | ContainerPlace | SpoolPlace | SlicePlace | ParquetPlace
"""Any of them; a new kind of place is one class more here, with a `kind` of its own."""

# A TypeAdapter of an annotated union has no type that mypy could spell.
_ADAPTER: TypeAdapter[Place] = TypeAdapter(Annotated[Place, Field(discriminator="kind")])


def place_to_text(place: Place) -> str:
    """Write a place as JSON; equal places give equal text."""
    return _ADAPTER.dump_json(place).decode()


def place_from_text(text: str) -> Place:
    """Read what `place_to_text` wrote."""
    return _ADAPTER.validate_json(text)


def line_of(place: Place) -> int:
    """Return the line, row or record in its file, from 1; 0 where a place has none."""
    line: int = getattr(place, "line", 0)
    return line
