"""Encoder over gRPC against the same model in-process, and against other servers.

Server on one core with one ONNX thread, callers on the other. The limit is tokenising or decoding
plus the same ONNX file in-process on the server's core, sorted by length over a window of c items,
at its best batch size, measured right before and after each load. Peers serve the same file, short
texts only; they are installed below `.lookalike/peers` and measured in turns with ours. Last line:
one JSON object; a peer that cannot be measured is null there, with the reason.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence

from tests.bench.encoder_candidates import CLIENT_CORE, SERVER_CORE, Candidates
from tests.bench.encoder_peers import PEERS, PeerError, install
from tests.bench.encoder_report import OURS, Round, report
from tests.bench.peers import pin
from tests.bench.worker import worker


def main(argv: Sequence[str] | None = None) -> None:
    """Install the peers asked for, then measure round by round."""
    options = _parse(argv)
    failures: dict[str, str] = {}
    for name in options.peers:
        try:
            install(PEERS[name])
        except PeerError as error:
            failures[name] = str(error)
    pin(CLIENT_CORE)
    with worker("encoder_limit", core=SERVER_CORE) as limit:
        candidates = Candidates(limit, options.seconds)
        candidates.find_limits()
        names = [OURS, *(each for each in options.peers if each not in failures)]
        rounds = []
        for number in range(options.rounds):
            turns = names if number % 2 == 0 else names[::-1]
            rounds.append(_round(candidates, [e for e in turns if e not in failures], failures))
    print(json.dumps(report(rounds, failures)))  # noqa: T201 - the result


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="to take medians of (%(default)s)")
    parser.add_argument(
        "--peers", nargs="*", choices=sorted(PEERS), default=[], help="to compare with (none)"
    )
    options = parser.parse_args(argv)
    if not (math.isfinite(options.seconds) and options.seconds > 0 and options.rounds > 0):
        parser.error("--seconds and --rounds must be above 0")
    return options


def _round(candidates: Candidates, turns: Sequence[str], failures: dict[str, str]) -> Round:
    """Measure each once; a peer that fails is left out from then on."""
    measured = {}
    for name in turns:
        try:
            if name == OURS:
                measured[name] = candidates.ours(short_last=turns[0] == OURS)
            else:
                measured[name] = candidates.peer(PEERS[name])
        except PeerError as error:
            failures[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - progress
    return measured


if __name__ == "__main__":
    main()
