"""One round of a candidate: our server against the limit, or another server."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Sequence
from typing import Final

import numpy as np

from tests.bench.contents import KINDS
from tests.bench.encoder_peers import Peer, PeerError, started_peer
from tests.bench.peers import MODELS, free_port, listens, running, started, wait_for
from tests.bench.worker import Worker, worker

SERVER_CORE, CLIENT_CORE = 0, 1
LOADS: Final = (("c1", 1, 1), ("c4", 4, 1), ("c16", 16, 1), ("c64", 64, 1), ("b32", 2, 32))
"""Name, callers, items a request."""
SINGLES: Final = tuple(each for each in LOADS if each[2] == 1)
SAMPLE: Final = 12
"""Items whose vectors are compared, all asked for at once."""
MIN_COSINE: Final = 0.999

Row = dict[str, float]
Rows = dict[str, Row]
"""What was measured, by kind and load: `minilm_short c64`; `echo` is a call that does nothing."""


class Candidates:
    """Measures for a number of seconds each; the limit's process stays the same."""

    def __init__(self, limit: Worker, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._calibrating = max(0.3, seconds / 4)
        self._right: dict[str, Sequence[Sequence[float]]] = {}

    def find_limits(self) -> None:
        """Find the best batch for each kind and window, and the right vectors."""
        for kind in KINDS:
            self._right[kind] = self._limit.ask(do="vectors", kind=kind, count=SAMPLE)
            for window in sorted({_window(*load[1:]) for load in LOADS}):
                found = self._limit.ask(do="search", kind=kind, window=window, seconds=0.3)
                _tell(f"limit, {kind} in windows of {window}", found)

    def ours(self, *, short_last: bool) -> Rows:
        """Run all loads against our server, each between two calibrations of its limit.

        Short texts come last where other servers are next, and else first, so that what is
        compared lies close together.
        """
        port = free_port()
        environment = {
            "LOOKALIKE_ENCODER__MODELS_DIR": str(MODELS),
            "LOOKALIKE_ENCODER__ENCODERS": '["minilm-l6-v2", "efficientnet-lite0"]',
            "LOOKALIKE_ENCODER__DEVICE__THREADS": "1",
            "LOOKALIKE_ENCODER__DEVICE__DECODE_THREADS": "1",
            "LOOKALIKE_ENCODER__SERVER__METRICS_PORT": str(port),
            "LOOKALIKE_ENCODER__TELEMETRY__LOG_LEVEL": "WARNING",
        }
        rows: Rows = {}
        with (
            started("encoder", environment, core=SERVER_CORE) as address,
            worker("encoder_callers", "lookalike", address, core=CLIENT_CORE) as caller,
        ):
            for kind in reversed(KINDS) if short_last else KINDS:
                if kind == "minilm_short":
                    rows["echo"] = self._echo()
                if wrong := self._difference(caller, kind):
                    raise RuntimeError(f"our vectors of {kind}: {wrong}")
                for load in LOADS:
                    rows[f"{kind} {load[0]}"] = row = self._row(caller, kind, load, port)
                    _tell(f"ours, {kind} {load[0]}", row)
            rows["memory"] = {"rss_mb": _scrape(port)["process_resident_memory_bytes"] / 2**20}
        return rows

    def peer(self, peer: Peer) -> Rows:
        """Run short texts against another server; raises PeerError."""
        rows: Rows = {}
        with started_peer(peer, server_core=SERVER_CORE, client_core=CLIENT_CORE) as caller:
            if wrong := self._difference(caller, "minilm_short"):
                raise PeerError(f"its vectors are others: {wrong}")
            for name, concurrency, size in SINGLES:
                try:
                    row = self._load(caller, "minilm_short", concurrency, size)
                except RuntimeError as error:
                    raise PeerError(f"it failed at {name}: {error}"[:300]) from error
                rows[f"minilm_short {name}"] = row
                _tell(f"{peer.name}, {name}", row)
        return rows

    def _row(self, caller: Worker, kind: str, load: tuple[str, int, int], port: int) -> Row:
        _, concurrency, size = load
        window = _window(concurrency, size)
        before, counted = self._calibrate(kind, window), _scrape(port)
        row = self._load(caller, kind, concurrency, size)
        after, counts = self._calibrate(kind, window), _scrape(port)
        limit = (before["per_second"] + after["per_second"]) / 2
        inferences, executions = (
            sum(counts[name] - counted.get(name, 0) for name in counts if word in name)
            for word in ("inference_count_total", "execution_count_total")
        )
        return row | {
            "limit_per_second": limit,
            "limit_p50_ms": (before["p50_ms"] + after["p50_ms"]) / 2,
            "ratio": row["per_second"] / limit,
            "mean_batch": inferences / executions,
        }

    def _echo(self) -> Row:
        port = free_port()
        program = [sys.executable, "-m", "tests.bench.echo_server", str(port)]
        with (
            running(program, dict(os.environ), SERVER_CORE),
            worker("encoder_callers", "echo", f"127.0.0.1:{port}", core=CLIENT_CORE) as caller,
        ):
            wait_for(lambda: listens(port), "the echo server")
            return self._load(caller, "minilm_short", 1, 1)

    def _load(self, caller: Worker, kind: str, concurrency: int, size: int) -> Row:
        row: Row = caller.ask(
            do="load", kind=kind, concurrency=concurrency, size=size, seconds=self._seconds
        )
        return row

    def _calibrate(self, kind: str, window: int) -> Row:
        row: Row = self._limit.ask(
            do="measure", kind=kind, window=window, seconds=self._calibrating
        )
        return row

    def _difference(self, caller: Worker, kind: str) -> str:
        """Return how its vectors differ from those made in-process, or nothing."""
        made = np.array(caller.ask(do="vectors", kind=kind, count=SAMPLE))
        right = np.array(self._right[kind])
        if made.shape != right.shape:
            return f"{made.shape} instead of {right.shape}"
        lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(right, axis=1)
        least = float(((made * right).sum(axis=1) / lengths).min())
        return "" if least >= MIN_COSINE else f"a cosine of {least:.4f}"


def _window(concurrency: int, size: int) -> int:
    """Return how many items the limit may sort: those of all callers, or of one long request."""
    return max(concurrency, size)


def _scrape(port: int) -> Row:
    """Return our server's metrics, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE)}


def _tell(what: str, row: Row) -> None:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
    print(f"{what}: {figures}", file=sys.stderr, flush=True)  # noqa: T201 - progress
