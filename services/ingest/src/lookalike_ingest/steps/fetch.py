"""Step 1: an item's bytes, from wherever its source said they are."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from lookalike_common.errors import LookalikeError
from lookalike_ingest.media_types import Modality
from lookalike_ingest.original import Blob
from lookalike_ingest.places import (
    AssetPlace,
    FilePlace,
    ObjectPlace,
    SpooledContent,
    SpoolPlace,
    WebPlace,
    WholePlace,
)
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.spool import Spool
from lookalike_ingest.steps.step import StepError

_SPOOLED: dict[SpooledContent, Modality] = {
    "image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "text": Modality.TEXT,
    "smiles": Modality.MOLECULE,
    "sequence": Modality.SEQUENCE,
}


@dataclass(frozen=True, slots=True)
class FetchInput:
    """One item that is no member of an archive."""

    tenant: str
    job_id: str
    name: str
    """What a file's name claims, it should hold."""
    place: WholePlace | SpoolPlace


class FetchError(StepError):
    """The bytes cannot be had."""

    step = "fetch"


class FetchStep:
    """Opens files, stored assets, and bytes given in the request. Blocks: call it in a thread."""

    def __init__(self, containers: Containers, spool: Spool) -> None:
        self._containers = containers
        self._spool = spool

    def run(self, item: FetchInput) -> Blob:
        """Return an item's bytes, opened. Raises FetchError."""
        try:
            match item.place:
                case FilePlace() | ObjectPlace() | WebPlace():
                    return opened(
                        partial(self._containers.open, item.tenant, item.place), item.name
                    )
                case AssetPlace(sha256):
                    reopen = partial(self._containers.open, item.tenant, item.place)
                    return opened(reopen, item.name, sha256)
                case SpoolPlace(content=content):
                    data = self._spool.read(item.job_id, item.place)
                    return Blob(io.BytesIO(data), item.name, len(data), _SPOOLED[content])
        except (LookalikeError, OSError) as error:
            raise FetchError(error) from error


def opened(reopen: Callable[[], BinaryIO], name: str, sha256: str = "") -> Blob:
    """Return what `reopen` opens; it is an asset already where its hash is known."""
    file = reopen()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return Blob(file, name, size, None, sha256, bool(sha256), reopen=reopen)
