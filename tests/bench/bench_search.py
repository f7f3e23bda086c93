"""Search by vector through the service against pymilvus on the same Milvus, and raw FAISS.

For each backend (Milvus Lite, and Milvus 2.3.5 in its own network) and number of rows: rates and
latencies at 1, 8 and 32 callers, recall against exact, queries by hits, filters, writing, and on
Lite keywords. Callers and servers share this machine's cores; what counts is the ratio in one run.
The last line is JSON.

    python -m tests.bench.bench_search [--rows 10000 100000] [--backends lite 2.3.5] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence

from pymilvus import AsyncMilvusClient

from tests.bench.search_backends import (
    BACKENDS,
    LITE,
    SERVER,
    backend,
    measure_faiss,
    service,
    settle,
    storage_of,
)
from tests.bench.search_callers import BATCH, Direct, Service, make_service, write_directly
from tests.bench.search_corpus import Corpus, Neighbours, make_corpus, nearest
from tests.bench.search_loads import CONCURRENCIES, Figures, Loads, hybrid
from tests.bench.search_report import lines, report
from tests.support import loopback_only, milvus_server
from tests.support.search_client import SearchClient

_QUERIES = 500
_TRUTH = 100
_DIRECT_ROWS = 5_000
_WORDS = 2_000


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each backend with each number of rows."""
    options = _parse(argv)
    if SERVER in options.backends:
        milvus_server.install()
        loopback_only.enter()
    runs = []
    for rows in options.rows:
        corpus = make_corpus(rows, options.dimensions, _QUERIES)
        truth = nearest(corpus, min(_TRUTH, rows))
        faiss = measure_faiss(corpus, truth, options.seconds) if options.faiss else None
        for name in options.backends:
            run = asyncio.run(_run(name, corpus, truth, options))
            run["faiss"] = faiss
            sys.stderr.write("\n".join(lines(run)) + "\n")
            runs.append(run)
    sys.stdout.write(json.dumps(report(runs)) + "\n")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=2, help="for each load (%(default)s)")
    parser.add_argument("--no-faiss", dest="faiss", action="store_false")
    parser.add_argument("--quick", action="store_true", help="to see that it works: no figures")
    options = parser.parse_args(argv)
    if options.quick:
        options.backends, options.rows, options.dimensions = [LITE], [200], 16
        options.seconds, options.faiss = 0.02, False
    return options


async def _run(
    name: str, corpus: Corpus, truth: Neighbours, options: argparse.Namespace
) -> Figures:
    """Fill one backend and measure it."""
    rows = len(corpus.rows)
    has_words = name == LITE and rows == options.rows[0]  # once is enough
    with backend(name) as uri:
        async with service(uri) as client:
            ours = await make_service(client, "bench", options.dimensions)
            upserts = await _fill(ours, corpus)
            storage = await storage_of(uri, "bench")
            await settle(name, uri, storage, rows)
            direct = AsyncMilvusClient(uri)
            loads = Loads(ours, Direct(direct, storage), corpus, options.seconds)
            try:
                run: Figures = {
                    "backend": name,
                    "rows": rows,
                    "dimensions": options.dimensions,
                    "upserts_per_s": upserts,
                    "searches": {str(c): await loads.searches(c) for c in CONCURRENCIES},
                    "added_p50_ms": await loads.added_p50_ms(),
                    "recall": await loads.recalls(truth),
                    "grid": await loads.grid(),
                    "filters": await loads.filters(),
                    "hybrid": await _hybrid(client, corpus, options) if has_words else None,
                    "while_writing": await loads.while_writing(),
                }
            finally:
                await direct.close()
        run["upserts_per_s_pymilvus"] = await asyncio.to_thread(_fill_directly, uri, corpus)
    return run


async def _fill(ours: Service, corpus: Corpus, texts: Sequence[str] = ()) -> int:
    """Write all rows and return how many in a second."""
    started = time.perf_counter()
    for start in range(0, len(corpus.rows), BATCH):
        await ours.write(corpus.rows[start : start + BATCH], start, texts[start : start + BATCH])
    return round(len(corpus.rows) / (time.perf_counter() - started))


def _fill_directly(uri: str, corpus: Corpus) -> int:
    rows = corpus.rows[:_DIRECT_ROWS]
    started = time.perf_counter()
    write_directly(uri, rows)
    return round(len(rows) / (time.perf_counter() - started))


async def _hybrid(client: SearchClient, corpus: Corpus, options: argparse.Namespace) -> Figures:
    """Measure keywords on the same rows, each with a text of ten words."""
    words = [f"word{number}" for number in range(_WORDS)]
    texts = [
        " ".join(words[(number * step) % _WORDS] for step in range(1, 11))
        for number in range(len(corpus.rows))
    ]
    ours = await make_service(client, "bench-words", options.dimensions, text=True)
    await _fill(ours, corpus, texts)
    await settle(LITE, "", "", len(corpus.rows))
    return await hybrid(ours, corpus, words, options.seconds)


if __name__ == "__main__":
    main()
