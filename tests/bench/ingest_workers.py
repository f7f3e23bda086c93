"""Two workers on one PostgreSQL, by one.

The encoder answers after a fifth of a second, as one behind a network and a queue does, and costs
nothing here: so a worker waits most of the time, and what is measured is whether job store, queue
and locks let two of them wait side by side, not how many cores this machine has.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from lookalike_common.channels import open_channel
from lookalike_common.testing import free_port, loopback
from tests.bench.ingest_memory import ingest
from tests.bench.ingest_suite import tell
from tests.support.ingest_peers import Peers, running_encoder, running_search
from tests.support.ingest_process import Caller, Victim
from tests.support.pictures import fill
from tests.support.postgres_server import PostgresServer, started_postgres

Figures = dict[str, Any]
_ENCODE_SECONDS: Final = 0.2
_TARGET: Final = 1.6


class DistantPeers(Peers):
    """Peers whose encoder takes its time."""

    async def enter(self, rpc: str) -> None:
        """Wait with Encode, then go on as usual."""
        await super().enter(rpc)
        if rpc == "Encode":
            await asyncio.sleep(_ENCODE_SECONDS)


async def measure(items: int) -> Figures:
    """Ingest so many photos by one worker, then by two."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder,
        started_postgres() as postgres,
    ):
        root = Path(folder) / "photos"
        fill(root, items)
        rates = {
            workers: await _rate(postgres, root, Path(folder) / f"data-{workers}", workers, items)
            for workers in (1, 2)
        }
    figures = {
        "two_workers_ratio": round(rates[2] / rates[1], 2),
        "target_two_workers_ratio": _TARGET,
        "workers_items_per_s": {workers: round(rate) for workers, rate in rates.items()},
    }
    tell(f"workers: {figures}")
    return figures


async def _rate(
    postgres: PostgresServer, root: Path, data: Path, workers: int, items: int
) -> float:
    """Return items a second of a job that so many workers share."""
    peers = DistantPeers(preferred_items=32)
    async with AsyncExitStack() as stack:
        encoder = await stack.enter_async_context(running_encoder(peers))
        search = await stack.enter_async_context(running_search(peers))
        settings = {
            "SERVER__METRICS_PORT": "0",
            "DATA_DIR": str(data),
            "ROOTS": json.dumps([str(root)]),
            "ENCODER__ADDRESS": f"127.0.0.1:{encoder.port}",
            "SEARCH__ADDRESS": f"127.0.0.1:{search.port}",
            "DATABASE_URL": postgres.create_database(),
            "JOBS__SHARD_ITEMS": "128",
            "TELEMETRY__LOG_LEVEL": "WARNING",
        }
        ports = [free_port() for _ in range(workers)]
        for port in ports:
            own = settings | {"SERVER__PORT": str(port), "JOBS__EXECUTOR": f"worker-{port}"}
            prefixed = {f"LOOKALIKE_INGEST__{name}": value for name, value in own.items()}
            worker = Victim(prefixed, port)
            await worker.start()
            stack.push_async_callback(worker.kill)
        callers = [
            Caller(await stack.enter_async_context(open_channel(loopback(port)))) for port in ports
        ]
        for caller in callers:
            await caller.list_jobs()
        _, seconds = await ingest(callers[0], root)
    return items / seconds
