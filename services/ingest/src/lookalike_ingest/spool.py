"""What the service needs of the place where bytes given in a request wait for their turn."""

from collections.abc import Collection, Sequence
from typing import Protocol

from lookalike_ingest.places import SpoolPlace


class Spool(Protocol):
    """One file a job, written before the job is acknowledged, deleted when nothing needs it."""

    async def write(self, job_id: str, pieces: Sequence[bytes]) -> None:
        """Keep the pieces, one after the other, for good."""

    def read(self, job_id: str, place: SpoolPlace) -> bytes:
        """Return one piece; blocks. Raises SourceChangedError when it is gone."""

    async def copy(self, job_id: str, to_job_id: str) -> None:
        """Keep a job's pieces for another job as well; nothing happens when there are none."""

    async def delete(self, job_id: str) -> None:
        """Forget a job's pieces."""

    async def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget the pieces of all other jobs."""
