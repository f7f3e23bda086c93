"""What the search benchmark's figures come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Figures = Mapping[str, Any]

_LARGE: Final = 100_000


def report(runs: Sequence[Figures]) -> dict[str, Any]:
    """Return the result of runs, one for each backend and number of rows; null is not measured."""
    ratios = {
        (each["backend"], each["rows"], int(c)): figures["ratio"]
        for each in runs
        for c, figures in each["searches"].items()
    }
    return {
        "benchmark": "search",
        "qps_ratio_to_pymilvus": min(
            (ratio for (_, _, c), ratio in ratios.items() if c >= 8), default=None
        ),
        "qps_ratio_c32_lite_100k": ratios.get(("lite", _LARGE, 32)),
        # Of the fewest rows: what is ours is lost in what Milvus takes with many, and in its noise.
        "added_p50_ms": max(
            each["added_p50_ms"] for each in runs if each["rows"] == min(e["rows"] for e in runs)
        ),
        "recall_at_10": min(each["recall"]["10"] for each in runs),
        "upserts_per_s": min(each["upserts_per_s"] for each in runs),
        "runs": list(runs),
    }


def lines(run: Figures) -> list[str]:
    """Return a run as lines for people."""
    told = [f"{run['rows']} rows on {run['backend']}: recall {run['recall']}"]
    for c, each in run["searches"].items():
        ours, theirs = each["service"], each["pymilvus"]
        told.append(
            f"  c = {c:>2}: {ours['per_second']:8.1f} / {theirs['per_second']:8.1f} QPS ="
            f" {each['ratio']:.2f}, p50 {ours['p50_ms']:.2f} / {theirs['p50_ms']:.2f} ms,"
            f" p95 {ours['p95_ms']:.2f} / {theirs['p95_ms']:.2f} ms"
        )
    told.append(f"  a lone search takes {run['added_p50_ms']} ms longer")
    told += [
        f"  filter {name}: {each['service']['per_second']} / {each['pymilvus']['per_second']} QPS"
        for name, each in run["filters"].items()
    ]
    told += [
        f"  nq {cell['nq']:>3}, top_k {cell['top_k']:>3}: {cell['service']} / {cell['pymilvus']}"
        f" queries/s = {cell['ratio']:.2f}"
        for cell in run["grid"]
    ]
    if run["hybrid"]:
        told += [f"  {name}: {each['per_second']} QPS" for name, each in run["hybrid"].items()]
    writing = run["while_writing"]
    told.append(f"  p95 while writing ÷ idle: {writing['p95_ratio']}")
    told.append(f"  upserts/s: {run['upserts_per_s']}, by pymilvus {run['upserts_per_s_pymilvus']}")
    if run["faiss"]:
        told.append(f"  raw FAISS, one thread: {run['faiss']}")
    return told
