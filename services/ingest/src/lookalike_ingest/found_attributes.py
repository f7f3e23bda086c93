"""What is found out about an item without anybody saying so, where the collection asks for it.

A collection asks by declaring an attribute of that name; what its type cannot hold is left out,
and what the caller said about an item wins.

| name | what |
|---|---|
| `path`, `folder`, `file_name`, `extension` | of a file, relative to the job's source |
| `media_type` | IANA media type |
| `width`, `height` | pixels of a picture or a video, upright |
| `camera_make`, `camera_model`, `taken_at` | from EXIF; a clock without a zone counts as UTC |
| `latitude`, `longitude`, `altitude` | from EXIF, with the option `keep_location` only |
| `duration`, `codec` | of a sound or video: seconds, and FFmpeg's name of the coding |
| `sample_rate`, `channels` | of a sound |
| `frame_rate` | of a video, on average |
| `label`, `label_score` | of an object that a detector found |
| `title`, `pages` | of a document |
| `name`, `inchi_key`, and the properties of an SD record | of a molecule |
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from lookalike_ingest.entities import AttributeType
from lookalike_ingest.job import Attributes, FilesSource, Job, Json
from lookalike_ingest.media_types import MediaType

FOUND: Final = frozenset(
    [
        "altitude",
        "camera_make",
        "camera_model",
        "channels",
        "codec",
        "duration",
        "frame_rate",
        "inchi_key",
        "label",
        "label_score",
        "latitude",
        "longitude",
        "name",
        "pages",
        "sample_rate",
        "taken_at",
        "title",
        "width",
        "height",
    ]
)
"""Those of them that are found while an item is split."""


def of_place(job: Job, key: str, media_type: MediaType) -> Attributes:
    """Return what a file's place and its first bytes say; of other items, only the latter."""
    if not isinstance(job.spec.source, FilesSource):
        return {"media_type": media_type.name}
    path = PurePosixPath(key)
    folder = str(path.parent)
    found = {
        "path": key,
        "folder": "" if folder == "." else folder.removesuffix("!"),
        "file_name": path.name,
        "media_type": media_type.name,
        "extension": path.suffix.removeprefix(".").lower(),
    }
    return {name: value for name, value in found.items() if value}


def as_declared(found: Attributes, declared: Mapping[str, AttributeType]) -> Attributes:
    """Return those of the attributes that are declared, in their declared types."""
    kept: dict[str, Json] = {}
    for name in declared.keys() & found.keys():
        value = _fit(found[name], declared[name])
        if value is not None:
            kept[name] = value
    return kept


def identity_of(declared: Mapping[str, AttributeType]) -> str:
    """Return what makes another entity of the same parts: which of `FOUND` are asked for."""
    names = sorted(f"{name}:{declared[name]}" for name in declared.keys() & FOUND)
    return f";{','.join(names)}" if names else ""


def _is_moment(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _fit(value: Json, wanted: AttributeType) -> Json:  # noqa: PLR0911 - one return a type
    """Return a value as its type wants it; None where it does not fit."""
    match wanted:
        case AttributeType.JSON:
            return value
        case AttributeType.STRING:
            return value if isinstance(value, str) else _number_as_text(value)
        case AttributeType.TIMESTAMP:
            return value if isinstance(value, str) and _is_moment(value) else None
        case AttributeType.STRING_LIST:
            return [value] if isinstance(value, str) else None
        case AttributeType.BOOL:
            return value if isinstance(value, bool) else None
        case AttributeType.INT:
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case AttributeType.DOUBLE:
            return float(value) if isinstance(value, int | float) else None


def _number_as_text(value: Json) -> Json:
    return f"{value}" if isinstance(value, int | float) else None
