"""A process that answers questions, one JSON object a line: kept over a benchmark on its own core.

Limits are calibrated and servers called from such processes, so that nothing is loaded twice and
libraries that do not get along in one process need not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.peers import on_core


class Worker:
    """A running process of `python -m tests.bench.<module>`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **question: object) -> Any:
        """Return its answer; raises RuntimeError with what it says went wrong."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker was started without pipes")
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


@contextmanager
def worker(module: str, *arguments: str, core: int) -> Iterator[Worker]:
    """Run a module of this folder on one core."""
    command = on_core(core, [sys.executable, "-m", f"tests.bench.{module}", *arguments])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.communicate()


def answer(reply: Callable[[dict[str, Any]], object]) -> None:
    """Be such a process: answer each question until there are no more."""
    for line in sys.stdin:
        try:
            said = {"result": reply(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whoever asked decides
            said = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
