"""Bytes that were given with a job, in a folder and in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lookalike_common.errors import SourceChangedError
from lookalike_ingest.adapters.folder_spool import FolderSpool
from lookalike_ingest.adapters.sql_database import SqlDatabase
from lookalike_ingest.adapters.sql_spool import SqlSpool
from lookalike_ingest.adapters.sql_tables import METADATA, SPOOL
from lookalike_ingest.places import SpoolPlace
from lookalike_ingest.spool import Spool
from tests.support.postgres_server import PostgresServer


@pytest.fixture(params=["folder", "postgresql"])
async def spool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Spool]:
    if request.param == "folder":
        yield FolderSpool(tmp_path / "spool")
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    database = SqlDatabase(postgres.create_database(), METADATA)
    await database.open()
    yield SqlSpool(database)
    await database.close()


def read(spool: Spool, job: str, offset: int, length: int) -> bytes:
    return spool.read(job, SpoolPlace(offset, length, "image"))


async def test_pieces_come_back(spool: Spool) -> None:
    large = bytes(range(256)) * 40_000
    await spool.write("a", [b"one", b"", b"\0\xff", large])
    assert read(spool, "a", 0, 3) == b"one"
    assert read(spool, "a", 3, 0) == b""
    assert read(spool, "a", 3, 2) == b"\0\xff"
    assert read(spool, "a", 5, len(large)) == large
    await spool.write("a", [b"two"])
    assert read(spool, "a", 0, 3) == b"two"
    with pytest.raises(SourceChangedError):
        read(spool, "b", 0, 3)


async def test_pieces_are_deleted_job_by_job(spool: Spool) -> None:
    for job in "ab":
        await spool.write(job, [b"x"])
    await spool.delete("a")
    await spool.delete("never")
    with pytest.raises(SourceChangedError):
        read(spool, "a", 0, 1)
    assert read(spool, "b", 0, 1) == b"x"


async def test_a_copy_outlives_its_original(spool: Spool) -> None:
    await spool.write("a", [b"x", b"yz"])
    await spool.copy("a", "b")
    await spool.copy("a", "b")
    await spool.copy("never", "c")
    await spool.delete("a")
    await spool.copy("a", "b")
    assert read(spool, "b", 1, 2) == b"yz"
    with pytest.raises(SourceChangedError):
        read(spool, "c", 0, 1)


async def test_new_pieces_stay_for_a_job_that_is_just_being_created(
    postgres: PostgresServer,
) -> None:
    """Another replica starts between the writing of the pieces and the creation of the job."""
    database = SqlDatabase(postgres.create_database(), METADATA)
    await database.open()
    spool = SqlSpool(database)
    for job in ("known", "old", "new"):
        await spool.write(job, [b"x"])
    aged = sa.update(SPOOL).where(SPOOL.c.job != "new").values(written_at=0)
    await database.write(lambda connection: connection.execute(aged))
    await spool.keep_only(["known"])
    assert read(spool, "known", 0, 1) == read(spool, "new", 0, 1) == b"x"
    with pytest.raises(SourceChangedError):
        read(spool, "old", 0, 1)
    await database.close()
