"""Which column of a table gives what, and what a row says by it. Pure.

A column that nothing is made of becomes an attribute; where its name could not be one, it gets the
nearest name that can.
"""

import json
import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lookalike_common.errors import InvalidArgumentError, InvalidContentError
from lookalike_ingest.entities import AttributeType
from lookalike_ingest.job import Attributes, Json
from lookalike_ingest.original import Row

Value: TypeAlias = "Json | bytes"
"""One cell: JSON, or a vector's components as little-endian float32."""

CONTENT_KEYS = ("text", "title", "smiles", "sequence", "uri")
RESERVED_ATTRIBUTES = frozenset(
    {"item", "asset", "text", "source_uri", "create_time", "update_time"}
)
_READ_AS_JSON = frozenset(
    {AttributeType.DOUBLE, AttributeType.BOOL, AttributeType.STRING_LIST, AttributeType.JSON}
)
"""Types whose values are written as in JSON; the search service reads all others from text."""
_MAX_NAME = 63
_VECTORS = "vectors."
_ATTRIBUTES = "attributes."
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_UNFIT = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Columns:
    """A mapping: columns by what they give."""

    item: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    """Columns by content key."""
    vectors: Mapping[str, str] = field(default_factory=dict)
    """Columns by vector field."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Columns by attribute."""

    @property
    def named(self) -> Sequence[str]:
        """Every column that gives something."""
        item = (self.item,) if self.item else ()
        groups = (self.content, self.vectors, self.attributes)
        return (*item, *(column for group in groups for column in group.values()))

    @property
    def uri(self) -> str:
        """The column that says where the content lies; empty for none."""
        return self.content.get("uri", "")


@dataclass(frozen=True, slots=True)
class RowContent:
    """What a row says, and what it is called."""

    row: Row
    item: str = ""
    """Its key; empty where no column gives one."""
    uri: str = ""
    """Where its content lies, or came from; empty for nowhere."""


def parse_columns(mapping: Mapping[str, str]) -> Columns:
    """Read a request's mapping. Raises InvalidArgumentError at the key that is wrong."""
    content: dict[str, str] = {}
    vectors: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for key, column in mapping.items():
        if not column:
            raise InvalidArgumentError("a column needs a name", field=key)
        if key in CONTENT_KEYS:
            content[key] = column
        elif key.startswith(_VECTORS):
            vectors[key.removeprefix(_VECTORS)] = column
        elif key.startswith(_ATTRIBUTES):
            attributes[_attribute(key)] = column
        elif key != "item":
            known = ", ".join(("item", *CONTENT_KEYS))
            raise InvalidArgumentError(
                f"keys are {known}, vectors.{{field}} and attributes.{{name}}", field=key
            )
    _check_content(content, vectors)
    return Columns(mapping.get("item", ""), content, vectors, attributes)


def _attribute(key: str) -> str:
    name = key.removeprefix(_ATTRIBUTES)
    if not _NAME.fullmatch(name) or name in RESERVED_ATTRIBUTES:
        raise InvalidArgumentError("no attribute can have this name", field=key)
    return name


def _check_content(content: Mapping[str, str], vectors: Mapping[str, str]) -> None:
    """Refuse a mapping by which a row would be nothing, or two things at once."""
    kinds = [key for key in ("smiles", "sequence", "uri") if key in content]
    if "text" in content or "title" in content:
        kinds.insert(0, "text")
    if not kinds and not vectors:
        raise InvalidArgumentError("one column must give text, smiles, sequence, uri or a vector")
    if len(kinds) > 1 and not (vectors and kinds[1:] == ["uri"]):
        raise InvalidArgumentError(f"a row is {kinds[0]} or {kinds[1]}, not both")


def attribute_names(columns: Iterable[str], mapping: Columns) -> Mapping[str, str]:
    """Return attributes by the columns that become them, named ones and all others.

    Raises InvalidContentError for two columns that would be the same attribute.
    """
    used = set(mapping.named)
    found = {column: name for name, column in mapping.attributes.items()}
    taken = set(mapping.attributes)
    for column in columns:
        if not column or column in used:
            continue
        name = _fitting(column)
        if name in taken:
            raise InvalidContentError(
                f"the column {column!r} would be a second attribute {name!r}; name it by columns"
            )
        taken.add(name)
        found[column] = name
    return found


def _fitting(column: str) -> str:
    name = _UNFIT.sub("_", column).strip("_") or "column"
    if not name[0].isalpha() or name in RESERVED_ATTRIBUTES:
        name = f"column_{name}"
    return name[:_MAX_NAME]


def check_present(columns: Collection[str], mapping: Columns) -> None:
    """Raise InvalidContentError for a mapped column that the table lacks."""
    for column in mapping.named:
        if column not in columns:
            raise InvalidContentError(f"the table has no column {column!r}")


def read_content(
    values: Mapping[str, Value], mapping: Columns, names: Mapping[str, str]
) -> RowContent:
    """Return what a row says. Raises InvalidContentError for a value that cannot be it."""
    words = {key: _text(values.get(column), column) for key, column in mapping.content.items()}
    vectors = {
        name: _components(values.get(column), column) for name, column in mapping.vectors.items()
    }
    if not vectors and not any(words.values()):
        raise InvalidContentError("the row says nothing: its columns are empty")
    row = Row(
        words.get("text", ""),
        words.get("title", ""),
        words.get("smiles", ""),
        words.get("sequence", ""),
        vectors,
        _attributes(values, names),
    )
    return RowContent(row, read_key(values, mapping), read_uri(values, mapping))


def read_key(values: Mapping[str, Value], mapping: Columns) -> str:
    """Return a row's key; empty where no column gives it. Raises InvalidContentError."""
    item = _text(values.get(mapping.item), mapping.item) if mapping.item else ""
    if mapping.item and not item:
        raise InvalidContentError(f"the column {mapping.item!r} gives the item no key")
    return item


def read_uri(values: Mapping[str, Value], mapping: Columns) -> str:
    """Return where a row says that it comes from; empty where it does not."""
    return _text(values.get(mapping.uri), mapping.uri) if mapping.uri else ""


def _attributes(values: Mapping[str, Value], names: Mapping[str, str]) -> Attributes:
    attributes: dict[str, Json] = {}
    for column, name in names.items():
        value = values.get(column)
        if value is not None and not isinstance(value, bytes):
            attributes[name] = value
    return attributes


def typed(attributes: Attributes, declared: Mapping[str, AttributeType]) -> Attributes:
    """Return attributes, which a table without types has as text, in their declared types.

    What does not fit its type stays text: the search service says what is wrong with it.
    """
    return {
        name: _to_type(value, declared[name]) if name in declared else value
        for name, value in attributes.items()
    }


def _to_type(value: Json, declared: AttributeType) -> Json:
    if not isinstance(value, str) or declared not in _READ_AS_JSON:
        return value
    text = value.strip().lower() if declared is AttributeType.BOOL else value
    try:
        read: Json = json.loads(text)
    except ValueError:
        return value
    return read


def _text(value: Value, column: str) -> str:
    """Return a cell's text; numbers, as of ids, are written as they are in JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise InvalidContentError(f"the column {column!r} holds no text here")


def _components(value: Value, column: str) -> bytes:
    """Return little-endian float32 components of a cell: packed, a list, or a list as JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or not value:
        raise InvalidContentError(f"the column {column!r} holds no list of numbers here")
    try:
        return struct.pack(f"<{len(value)}f", *value)
    except (struct.error, OverflowError) as error:
        raise InvalidContentError(
            f"the column {column!r} holds something else than numbers here"
        ) from error
