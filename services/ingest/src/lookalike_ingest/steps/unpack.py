"""Step 2, for members of archives in place of fetching: one member's bytes, and nothing else's.

Archives are never extracted: a member is read from its place in the archive, in memory, bounded by
what the archive's directory declared and the limits allowed.
"""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from lookalike_common.errors import LookalikeError, SourceChangedError
from lookalike_ingest.asset_store import AssetStore
from lookalike_ingest.original import Blob
from lookalike_ingest.places import AssetPlace, FilePlace, MemberPlace
from lookalike_ingest.sources.roots import Roots
from lookalike_ingest.sources.zip_member import read_member
from lookalike_ingest.steps.step import StepError


@dataclass(frozen=True, slots=True)
class UnpackInput:
    """One member of an archive."""

    tenant: str
    place: MemberPlace


class UnpackError(StepError):
    """The member cannot be had, or is unsafe."""

    step = "unpack"


class UnpackStep:
    """Reads members of archives. Blocks: call it in a thread."""

    def __init__(self, roots: Roots, assets: AssetStore) -> None:
        self._roots = roots
        self._assets = assets

    def run(self, item: UnpackInput) -> Blob:
        """Return a member's bytes. Raises UnpackError."""
        try:
            with self.open_archive(item.tenant, item.place.archive) as file:
                if os.fstat(file.fileno()).st_size != item.place.archive_size:
                    raise SourceChangedError("the archive changed since it was listed")
                data = read_member(file, item.place)
        except (LookalikeError, OSError) as error:
            raise UnpackError(error) from error
        return Blob(io.BytesIO(data), item.place.name, len(data))

    def open_archive(self, tenant: str, place: FilePlace | AssetPlace) -> BinaryIO:
        """Open an archive, wherever it is."""
        if isinstance(place, FilePlace):
            return self._roots.open(place.path)
        return self._assets.open(tenant, place.sha256)
