"""Step 2, in place of fetching, for what lies in something else: one member's bytes, or one row's.

Archives are never extracted: a member is read from its place in the archive, bounded by what was
declared and the limits allowed.
"""

from dataclasses import dataclass, replace
from functools import partial

from lookalike_common.errors import LookalikeError
from lookalike_ingest.original import Blob
from lookalike_ingest.places import MemberPlace, SlicePlace
from lookalike_ingest.sources.containers import Containers
from lookalike_ingest.steps.fetch import opened
from lookalike_ingest.steps.step import StepError


@dataclass(frozen=True, slots=True)
class UnpackInput:
    """One member of an archive, one record, one row."""

    tenant: str
    place: MemberPlace | SlicePlace


class UnpackError(StepError):
    """The member cannot be had, or is unsafe."""

    step = "unpack"


class UnpackStep:
    """Opens members of archives. Blocks: call it in a thread."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    def run(self, item: UnpackInput) -> Blob:
        """Return a member's bytes, opened. Raises UnpackError."""
        try:
            reopen = partial(self._containers.open, item.tenant, item.place)
            blob = opened(reopen, item.place.name)
        except (LookalikeError, OSError) as error:
            raise UnpackError(error) from error
        record = isinstance(item.place, SlicePlace) and item.place.format
        return replace(blob, keep=not record)
