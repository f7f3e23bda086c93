"""The Milvus servers that the search benchmark runs against, and the service in front of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from pymilvus import MilvusClient

from lookalike_common.channels import open_channel
from lookalike_common.settings import TargetSettings
from lookalike_common.testing import assert_eventually
from lookalike_search.adapters.milvus import MilvusStore
from tests.bench.encoder_peers import SERVERS
from tests.bench.peers import started
from tests.bench.search_corpus import Corpus, Neighbours
from tests.support import milvus_server
from tests.support.milvus_lite import MilvusLite
from tests.support.search_client import SearchClient

LITE: Final = "lite"
SERVER: Final = "2.3.5"
BACKENDS: Final = (LITE, SERVER)
_INDEX_LIMIT: Final = 600.0
_SETTLING: Final = 1.0
"""Seconds after which Lite has flushed and merged what was written last."""


@contextmanager
def backend(name: str) -> Iterator[str]:
    """Run an empty Milvus; yields its URI."""
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        milvus = MilvusLite if name == LITE else milvus_server.MilvusServer
        with milvus(Path(folder)) as running:
            yield running.uri


@asynccontextmanager
async def service(uri: str) -> AsyncIterator[SearchClient]:
    """Run the search service in a process of its own."""
    settings = {
        "LOOKALIKE_SEARCH__MILVUS__URI": uri,
        "LOOKALIKE_SEARCH__TELEMETRY__LOG_LEVEL": "WARNING",
    }
    with started("search", settings, core=None) as address:
        async with open_channel(TargetSettings(address=address)) as channel:
            yield SearchClient(channel)


async def storage_of(uri: str, collection_id: str) -> str:
    """Return Milvus's own name for a collection."""
    async with MilvusStore(uri) as store:
        await store.wait_until_available(timedelta(seconds=30))
        return (await store.resolve("", collection_id)).storage


async def settle(name: str, uri: str, storage: str, rows: int) -> None:
    """Wait until a collection is as it will stay: flushed, and indexed."""
    if name == LITE:
        await asyncio.sleep(_SETTLING)
        return
    client = MilvusClient(uri)
    try:
        client.flush(storage)

        async def indexed() -> bool:
            facts = client.describe_index(storage, "v_vector")
            return bool(facts["indexed_rows"] >= rows and not facts["pending_index_rows"])

        await assert_eventually(indexed, _INDEX_LIMIT)
    finally:
        client.close()
    await asyncio.sleep(_SETTLING)  # indexed segments take the place of growing ones


def measure_faiss(corpus: Corpus, truth: Neighbours, seconds: float) -> Any:
    """Return what raw FAISS does with the corpus, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-faiss-") as folder:
        path = Path(folder) / "corpus.npz"
        np.savez(path, rows=corpus.rows, queries=corpus.queries, truth=truth)
        command = [sys.executable, str(SERVERS / "faiss_index.py"), str(path), str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)
