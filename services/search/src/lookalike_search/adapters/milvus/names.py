"""What things are called inside Milvus.

A collection `my-photos` is the alias `ll_my_photos` of a physical collection
`ll_my_photos_V1763964000123456`. The number is the moment of creation in microseconds, so no
number comes twice and an abandoned creation tells its age. Changeable facts are properties of
empty collections `ll_my_photos_R1`, `…_R2`. An alias `best` is the alias `ll_best` of the physical
collection that it stands for, and what is remembered of it is in `ll_best_A1`. Our ids have no `_`
and no capitals, so nothing can be mistaken for anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEFAULT_DATABASE: Final = "default"

_PREFIX: Final = "ll_"
_PHYSICAL: Final = re.compile(r"ll_([a-z0-9_]+)_V([0-9]+)")
_REVISION: Final = re.compile(r"ll_([a-z0-9_]+)_R([0-9]+)")
_RECORD: Final = re.compile(r"ll_([a-z0-9_]+)_A([0-9]+)")
_PLAIN_TENANT: Final = re.compile(r"[a-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class NumberedName:
    """What a physical name says."""

    collection_id: str
    number: int


def alias_name(collection_id: str) -> str:
    """Return the alias that publishes a collection."""
    return _PREFIX + collection_id.replace("-", "_")


def physical_name(collection_id: str, number: int) -> str:
    """Return the name of one incarnation of a collection."""
    return f"{alias_name(collection_id)}_V{number}"


def revision_name(collection_id: str, revision: int) -> str:
    """Return the name of the empty collection that holds one revision of the settings."""
    return f"{alias_name(collection_id)}_R{revision}"


def record_name(alias_id: str, number: int) -> str:
    """Return the name of the empty collection that holds what is remembered of an alias."""
    return f"{alias_name(alias_id)}_A{number}"


def parse_physical(name: str) -> NumberedName | None:
    """Return what `physical_name` was given, or None for any other name."""
    return _parse(_PHYSICAL, name)


def parse_revision(name: str) -> NumberedName | None:
    """Return what `revision_name` was given, or None for any other name."""
    return _parse(_REVISION, name)


def parse_record(name: str) -> NumberedName | None:
    """Return what `record_name` was given, or None for any other name."""
    return _parse(_RECORD, name)


@dataclass(frozen=True, slots=True)
class Databases:
    """Which Milvus database holds whose collections."""

    main: str = DEFAULT_DATABASE
    """The empty tenant's; where it is not the default one, the others' names begin with it."""

    def of(self, tenant: str) -> str:
        """Return a tenant's database."""
        if not tenant:
            return self.main
        if _PLAIN_TENANT.fullmatch(tenant):
            return f"{self._prefix}t_{tenant}"
        return f"{self._prefix}x_{tenant.encode().hex()}"

    def tenant(self, database: str) -> str | None:
        """Return the tenant whose database it is, or None for one that is not ours."""
        if database == self.main:
            return ""
        if not database.startswith(self._prefix):
            return None
        name = database.removeprefix(self._prefix)
        plain = re.fullmatch(r"t_([a-z0-9]+)", name)
        if plain is not None:
            return plain[1]
        coded = re.fullmatch(r"x_((?:[0-9a-f]{2})+)", name)
        return bytes.fromhex(coded[1]).decode(errors="replace") if coded is not None else None

    @property
    def _prefix(self) -> str:
        return _PREFIX if self.main == DEFAULT_DATABASE else f"{self.main}_"


def _parse(pattern: re.Pattern[str], name: str) -> NumberedName | None:
    match = pattern.fullmatch(name)
    return NumberedName(match[1].replace("_", "-"), int(match[2])) if match else None
