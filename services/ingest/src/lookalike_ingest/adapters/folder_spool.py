"""The spool in a folder: a job's given bytes in one file, so that one flush keeps them all."""

import asyncio
import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from uuid import uuid4

from lookalike_common.errors import SourceChangedError, StorageFullError
from lookalike_ingest.places import SpoolPlace

_SUFFIX = ".spool"


class FolderSpool:
    """A `Spool` on a local file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, job_id: str, pieces: Sequence[bytes]) -> None:
        """Keep the pieces; the file appears whole or not at all."""
        try:
            await asyncio.to_thread(self._write, job_id, pieces)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFullError("the disk of the ingest service is full") from error
            raise

    def read(self, job_id: str, place: SpoolPlace) -> bytes:
        """Return one piece; blocks. Raises SourceChangedError when it is gone."""
        try:
            with self._path(job_id).open("rb") as file:
                file.seek(place.offset)
                return file.read(place.length)
        except FileNotFoundError as error:
            raise SourceChangedError("the bytes given with the job are gone") from error

    async def copy(self, job_id: str, to_job_id: str) -> None:
        """Give a job's file a second name: its bytes never change."""
        await asyncio.to_thread(self._link, self._path(job_id), self._path(to_job_id))

    async def delete(self, job_id: str) -> None:
        """Forget a job's pieces."""
        await asyncio.to_thread(self._path(job_id).unlink, missing_ok=True)

    async def keep_only(self, job_ids: Collection[str]) -> None:
        """Forget the pieces of all other jobs, and half-written files."""
        await asyncio.to_thread(self._keep_only, frozenset(job_ids))

    def _write(self, job_id: str, pieces: Sequence[bytes]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{uuid4().hex}.new"
        with unfinished.open("wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._path(job_id))
        self._flush_folder()

    def _link(self, file: Path, other: Path) -> None:
        try:
            other.hardlink_to(file)
        except (FileNotFoundError, FileExistsError):
            return
        self._flush_folder()

    def _flush_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _keep_only(self, job_ids: frozenset[str]) -> None:
        if not self._folder.exists():
            return
        for file in self._folder.iterdir():
            if file.suffix != _SUFFIX or file.stem not in job_ids:
                file.unlink(missing_ok=True)

    def _path(self, job_id: str) -> Path:
        return self._folder / f"{job_id}{_SUFFIX}"
