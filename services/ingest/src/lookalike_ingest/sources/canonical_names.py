"""Names of molecules that nothing else names: their InChIKeys, the same however they are written.

Each molecule is read once more for it, in a decoding process, while the source is listed.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from lookalike_common.errors import LookalikeError
from lookalike_ingest.batches.patience import TRANSIENT
from lookalike_ingest.decoding import Decoder, Facts
from lookalike_ingest.job import ItemsSource, Job, NewItem
from lookalike_ingest.places import SlicePlace, SpoolPlace
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.spool import Spool

_FORMATS = {"sdf": "sdf", "smi": "smiles"}
"""Of records, as the task that reads them calls them."""


@dataclass(frozen=True, slots=True)
class _Bytes:
    """A molecule's bytes, opened again whenever they are asked for."""

    reopen: Callable[[], BinaryIO]
    written_as: str

    def open(self) -> BinaryIO:
        """Open them."""
        return self.reopen()


class CanonicalNames:
    """Renames items as they are listed. Blocks: use it in a thread."""

    def __init__(self, containers: Containers, spool: Spool, decoder: Decoder) -> None:
        self._containers = containers
        self._spool = spool
        self._decoder = decoder

    def rename(self, job: Job, items: Iterable[NewItem]) -> Iterator[NewItem]:
        """Yield the items, unnamed molecules by their InChIKeys.

        What is no molecule, or has no such key, keeps the name that it has.
        """
        given = isinstance(job.spec.source, ItemsSource)
        strip_salts = job.spec.splitter.molecule.strip_salts
        for item in items:
            molecule = self._unnamed(job, item, given=given)
            key = self._read_key(molecule, strip_salts=strip_salts) if molecule else ""
            yield replace(item, key=key) if key else item

    def _unnamed(self, job: Job, item: NewItem, *, given: bool) -> _Bytes | None:
        """Return the bytes of a molecule that is known by its number or its hash only."""
        place = item.place
        if item.outcome is not None:
            return None
        if isinstance(place, SlicePlace) and place.format in _FORMATS:
            if not item.key.endswith(f"#{PurePosixPath(place.name).stem}"):
                return None
            reopen = partial(self._containers.open, job.tenant, place)
            return _Bytes(reopen, _FORMATS[place.format])
        if given and isinstance(place, SpoolPlace) and place.content == "smiles":
            data = self._spool.read(job.id, place)
            return _Bytes(partial(io.BytesIO, data), "smiles") if _is_hash(item.key) else None
        return None

    def _read_key(self, molecule: _Bytes, *, strip_salts: bool) -> str:
        arguments: Facts = {"format": molecule.written_as, "strip_salts": strip_salts}
        try:
            with closing(self._decoder.run("molecule", molecule, arguments)) as found:
                return next((str(each.facts["inchi_key"]) for each in found), "")
        except TRANSIENT:
            raise
        except (LookalikeError, OSError):
            return ""  # when its turn comes it fails, with the reason


def _is_hash(key: str) -> bool:
    return len(key) == 64 and not set(key) - set("0123456789abcdef")
