"""What all rounds of the encoder's benchmark come to: medians, and ratios of one round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from tests.bench.contents import KINDS
from tests.bench.encoder_candidates import LOADS, SINGLES, Rows

Round = Mapping[str, Rows]
"""By candidate; `lookalike` is ours."""
OURS = "lookalike"


def report(rounds: Sequence[Round], failures: Mapping[str, str]) -> dict[str, Any]:
    """Return the result; `failures` says why a peer has none."""
    peers = sorted({name for each in rounds for name in each} - {OURS} - set(failures))

    def ours(place: str, figure: str) -> float:
        return _median(rounds, lambda each: each[OURS][place][figure])

    return {
        "benchmark": "encoder",
        "rounds": len(rounds),
        "ratio_to_limit": {kind: ours(f"{kind} c64", "ratio") for kind in KINDS},
        "ratio_to_limit_b32": {kind: ours(f"{kind} b32", "ratio") for kind in KINDS},
        "by_concurrency": {
            kind: {load: _medians(rounds, OURS, f"{kind} {load}") for load, *_ in LOADS}
            for kind in KINDS
        },
        "vs_peer": {name: _ratios(rounds, name) for name in peers} | dict.fromkeys(failures),
        "peers": {
            name: {load: _medians(rounds, name, f"minilm_short {load}") for load, *_ in SINGLES}
            for name in peers
        },
        "peer_failures": dict(failures),
        "added_p50_c1_ms": _median(rounds, _added),
        "echo_p50_ms": ours("echo", "p50_ms"),
        "p99_ms": ours("minilm_short c64", "p99_ms"),
        "mean_batch": ours("minilm_short c64", "mean_batch"),
        "rss_mb": ours("memory", "rss_mb"),
    }


def _ratios(rounds: Sequence[Round], peer: str) -> dict[str, float]:
    """Return our throughput ÷ theirs, by concurrency."""

    def ratio(load: str) -> Callable[[Round], float]:
        place = f"minilm_short {load}"
        return lambda each: each[OURS][place]["per_second"] / each[peer][place]["per_second"]

    return {load: _median(rounds, ratio(load)) for load, *_ in SINGLES}


def _added(each: Round) -> float:
    """Return what a lone short text waits for beside the model and a call that does nothing."""
    alone, nothing = each[OURS]["minilm_short c1"], each[OURS]["echo"]
    return alone["p50_ms"] - alone["limit_p50_ms"] - nothing["p50_ms"]


def _medians(rounds: Sequence[Round], candidate: str, place: str) -> dict[str, float]:
    def figure(name: str) -> Callable[[Round], float]:
        return lambda each: each[candidate][place][name]

    return {name: _median(rounds, figure(name)) for name in rounds[0][candidate][place]}


def _median(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return round(median(figure(each) for each in rounds), 3)
