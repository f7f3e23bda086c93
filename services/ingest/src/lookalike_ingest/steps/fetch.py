"""Step 1: an item's bytes, from wherever its source said they are."""

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from lookalike_common.errors import LimitExceededError, LookalikeError
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.media_types import PREFIX_BYTES, Modality, claimed_modality, detect_media
from lookalike_ingest.places import AssetPlace, FilePlace, SpooledContent, SpoolPlace
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.spool import Spool
from lookalike_ingest.steps.step import ItemSkippedError, StepError

_SPOOLED: dict[SpooledContent, Modality] = {
    "image": Modality.IMAGE,
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
    place: FilePlace | AssetPlace | SpoolPlace


@dataclass(frozen=True, slots=True)
class FetchOutput:
    """Its bytes."""

    data: bytes
    sha256: str
    name: str
    given_as: Modality | None = None
    """What the caller said it is; None where nobody said anything."""
    stored: bool = False
    """Whether the bytes are an asset already."""


class FetchError(StepError):
    """The bytes cannot be had."""

    step = "fetch"


class FetchStep:
    """Reads files, stored assets, and bytes given in the request. Blocks: call it in a thread."""

    def __init__(self, roots: Roots, assets: AssetStore, spool: Spool, max_bytes: int) -> None:
        self._roots = roots
        self._assets = assets
        self._spool = spool
        self._max_bytes = max_bytes

    def run(self, item: FetchInput) -> FetchOutput:
        """Return an item's bytes.

        Raises FetchError, or ItemSkippedError for a large file that is nothing to be ingested.
        """
        try:
            match item.place:
                case FilePlace(path):
                    with self._roots.open(path) as file:
                        return fetched(self._read(file, item.name), item.name)
                case AssetPlace(sha256):
                    with self._assets.open(item.tenant, sha256) as file:
                        data = self._read(file, item.name)
                    return FetchOutput(data, sha256, item.name, stored=True)
                case SpoolPlace(content=content):
                    data = self._spool.read(item.job_id, item.place)
                    return fetched(data, item.name, _SPOOLED[content])
        except (LookalikeError, OSError) as error:
            raise FetchError(error) from error

    def _read(self, file: BinaryIO, name: str) -> bytes:
        size = os.fstat(file.fileno()).st_size
        if size > self._max_bytes:
            refuse_large(file.read(PREFIX_BYTES), name, size, self._max_bytes)
        data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            refuse_large(data[:PREFIX_BYTES], name, len(data), self._max_bytes)
        return data


def fetched(data: bytes, name: str, given_as: Modality | None = None) -> FetchOutput:
    """Return bytes with their hash."""
    return FetchOutput(data, hashlib.sha256(data).hexdigest(), name, given_as)


def refuse_large(prefix: bytes, name: str, size: int, limit: int) -> None:
    """Fail a large item, or skip it where it would be skipped whatever its size."""
    modality = detect_media(prefix).modality or claimed_modality(name)
    if modality in {None, Modality.VIDEO, Modality.AUDIO}:
        raise ItemSkippedError
    raise LimitExceededError(f"the file has {size} bytes; at most {limit} are allowed")
