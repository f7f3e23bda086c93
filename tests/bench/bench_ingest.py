"""Ingestion: photos by the encoder's limit, other kinds, memory, the engine, searches meanwhile.

Parts: `rates` (the real suite on Milvus Lite, the encoder on one core, the others on another),
`memory` (between peers that answer at once; 1, 10 and 100 times the items), `engine` (what durable
batches cost), `workers` (two workers on one PostgreSQL against one) and `searches` (their latency
while photos come in, on Milvus 2.3.5 and on Lite). The last line is JSON.

    python -m tests.bench.bench_ingest [--parts rates memory engine workers searches] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

from tests.bench import (
    ingest_engine,
    ingest_memory,
    ingest_rates,
    ingest_searches,
    ingest_workers,
)
from tests.bench.search_backends import LITE, SERVER
from tests.support import loopback_only, milvus_server, postgres_server, real_data

PARTS = ("rates", "memory", "engine", "workers", "searches")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts, and print one JSON object as the last line."""
    options = _parse(argv)
    _fetch(options)
    if SERVER in options.backends:
        loopback_only.enter()
    result: dict[str, Any] = {"benchmark": "ingest"}
    if "engine" in options.parts:
        result |= asyncio.run(ingest_engine.measure(options.items * 20))
    if "memory" in options.parts:
        factors = (1, 10) if options.quick else (1, 10, 100)
        result |= asyncio.run(ingest_memory.measure(options.items // 2, factors))
    if "workers" in options.parts:
        result |= asyncio.run(ingest_workers.measure(options.items * 2))
    if "rates" in options.parts:
        result |= ingest_rates.measure(options.items)
    if "searches" in options.parts:
        for name in options.backends:
            found = ingest_searches.measure(name, options.items, options.seconds)
            result["search_on_" + name] = found
            if name == SERVER:
                result["search_p95_ratio"] = found["p95_ratio"]
    sys.stdout.write(json.dumps(result) + "\n")


def _fetch(options: argparse.Namespace) -> None:
    """Bring what the parts need, before the network is left."""
    if "rates" in options.parts:
        real_data.sounds()
        real_data.drugs()
        real_data.genes("ScerR64_I")
    if "workers" in options.parts:
        postgres_server.install()
    if SERVER in options.backends:
        milvus_server.install()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--items", type=int, default=1000, help="photos (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of searches (%(default)s)")
    parser.add_argument("--backends", nargs="+", choices=(LITE, SERVER), default=[SERVER, LITE])
    parser.add_argument("--quick", action="store_true", help="to see that it works: no figures")
    options = parser.parse_args(argv)
    if options.quick:
        options.items, options.seconds, options.backends = 40, 0.2, [LITE]
    if "searches" not in options.parts:
        options.backends = []
    return options


if __name__ == "__main__":
    main()
