"""Raw FAISS on the benchmark's rows: HNSW as the service's default index has it, one query a call.

python faiss_index.py corpus.npz SECONDS       prints one JSON object
"""

from __future__ import annotations

import json
import sys
import time

import faiss
import numpy as np

M, EF_CONSTRUCTION, EF, TOP_K = 16, 200, 64, 10


def main(path: str, seconds: float) -> None:
    """Build, search in a loop, and compare with the truth."""
    corpus = np.load(path)
    rows, queries, truth = corpus["rows"], corpus["queries"], corpus["truth"][:, :TOP_K]
    index = faiss.IndexHNSWFlat(rows.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    started = time.perf_counter()
    index.add(rows)
    built = time.perf_counter() - started
    index.hnsw.efSearch = EF
    faiss.omp_set_num_threads(1)
    _, found = index.search(queries, TOP_K)
    hits = sum(len(set(some) & set(true)) for some, true in zip(found, truth, strict=True))
    number, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        index.search(queries[number % len(queries)][None], TOP_K)
        number += 1
    result = {
        "per_second": round(number / (time.perf_counter() - started), 1),
        "recall_at_10": round(hits / truth.size, 4),
        "build_seconds": round(built, 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
