"""Every rpc of the suite against real servers: what is asked, what is answered, or which error.

A new rpc must join the tables: with a row that succeeds and one that is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lookalike.ingest.v1.ingest_service_pb2 import ListJobFailuresRequest
from lookalike_common.status import error_from_status
from tests.contract.rpc_suite import SERVER_OF, RpcSuite, running_suite
from tests.contract.rpc_tables import (
    asset,
    collections,
    detect,
    encoder,
    encoder_admin,
    entities,
    inference,
    ingest,
    lifecycle,
    migrations,
    recommend,
    rerank,
    search,
    structure,
)
from tests.contract.rpc_tables.rows import (
    Answers,
    Ends,
    Refuses,
    RefusesItem,
    Row,
    assert_item_refused,
    assert_refused,
)
from tests.support.milvus_lite import MilvusLite
from tests.support.rpc_caller import api
from tests.support.suite import MODELS

ROWS = [
    row
    for table in (
        encoder,
        asset,
        collections,
        lifecycle,
        migrations,
        entities,
        search,
        recommend,
        inference,
        ingest,
        structure,
        encoder_admin,
        detect,
        rerank,
    )
    for row in table.ROWS
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(
    tmp_path_factory: pytest.TempPathFactory, milvus_lite: MilvusLite
) -> AsyncIterator[RpcSuite]:
    assert MODELS.is_dir(), "the models are not installed: run `make models`"
    folder: Path = tmp_path_factory.mktemp("rpc-suite")
    async with running_suite(folder, MODELS, milvus_lite.uri) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row(suite: RpcSuite, row: Row) -> None:
    server = row.server or SERVER_OF[row.rpc.partition(".")[0]]
    request = row.asked(suite.world)
    match row.outcome:
        case Refuses() as refusal:
            assert_refused(await suite.caller.error(server, row.rpc, request), refusal)
        case Answers(check):
            reply = await suite.caller.answer(server, row.rpc, request)
            assert check(reply), reply
        case RefusesItem(index=index) as refusal:
            reply = await suite.caller.answer(server, row.rpc, request)
            assert_item_refused(reply.results.pop(index), refusal)
            assert all(each.WhichOneof("result") != "error" for each in reply.results), reply
        case Ends(failures, created):
            job = await suite.caller.answer(server, row.rpc, request)
            last = (await suite.watch(job.name))[-1].job
            assert await _failures(suite, job.name) == failures
            assert (last.counts.created, last.counts.failed) == (created, len(failures)), last


async def _failures(suite: RpcSuite, job: str) -> dict[str, tuple[str, str]]:
    """Return step and reason of each failure, by the item's place below the root."""
    request = ListJobFailuresRequest(name=job)
    reply = await suite.ask("IngestService.ListJobFailures", request)
    return {
        each.item.removeprefix(suite.world.uri()): (
            each.step,
            error_from_status(each.error).reason,
        )
        for each in reply.failures
    }


def test_every_rpc_has_a_row_that_succeeds_and_one_that_is_refused() -> None:
    known = set(api())
    assert known, "the descriptor image is empty"
    assert {row.rpc for row in ROWS if isinstance(row.outcome, Answers | Ends)} == known
    assert {row.rpc for row in ROWS if isinstance(row.outcome, Refuses)} == (
        known - inference.NEVER_REFUSED
    )


def test_rows_have_different_names() -> None:
    names = [str(row) for row in ROWS]
    assert sorted(names) == sorted(set(names))
