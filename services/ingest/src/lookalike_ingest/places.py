"""Where the bytes of one item lie, in a form that a job store can keep.

A place is written when a source is listed and read when the item's turn comes, perhaps after a
restart, so it names everything that is needed and nothing that a caller could bend: paths were
resolved under a root before they got here, and are checked again when they are opened.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

SpooledContent: TypeAlias = Literal["image", "text", "smiles", "sequence"]
"""What bytes given in a request are; they say so themselves."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file under a configured root, by its resolved path."""

    path: str


@dataclass(frozen=True, slots=True)
class AssetPlace:
    """Stored bytes of the job's tenant, by their SHA-256 in hex."""

    sha256: str


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Bytes that came in the request, kept in the job's spool file."""

    offset: int
    length: int
    content: SpooledContent


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """One member of a zip archive, as the archive's directory describes it."""

    archive: FilePlace | AssetPlace
    archive_size: int
    name: str
    header_offset: int
    compressed_size: int
    size: int
    method: int
    crc: int


Place: TypeAlias = FilePlace | AssetPlace | SpoolPlace | MemberPlace

_KINDS: dict[str, type[Place]] = {
    "file": FilePlace,
    "asset": AssetPlace,
    "spool": SpoolPlace,
    "member": MemberPlace,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def place_to_text(place: Place) -> str:
    """Write a place as JSON; equal places give equal text."""
    return json.dumps(_to_dict(place), sort_keys=True, separators=(",", ":"))


def place_from_text(text: str) -> Place:
    """Read what `place_to_text` wrote."""
    return _from_dict(json.loads(text))


def _to_dict(place: Place) -> dict[str, object]:
    fields = asdict(place)
    if isinstance(place, MemberPlace):
        fields["archive"] = _to_dict(place.archive)
    return {"kind": _NAMES[type(place)], **fields}


# Any: the JSON was written by this module; the constructors name the fields.
def _from_dict(fields: dict[str, Any]) -> Place:
    kind = _KINDS[fields.pop("kind")]
    if kind is MemberPlace:
        fields["archive"] = _from_dict(fields["archive"])
    return kind(**fields)
