"""A Milvus Lite server as a child process, the way `lookalike up` runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from lookalike_common.testing import free_port
from tests.support.milvus_process import stop_all_threads

_HOST: Final = "127.0.0.1"
_START_LIMIT: Final = 60.0
_STOP_LIMIT: Final = 60.0

_PROGRAM: Final = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the test run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from milvus_lite.cmdline import main
sys.exit(main(sys.argv[1:]))
"""


class MilvusLite:
    """One server on a free port; what it stores survives `kill` and `start` again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://{_HOST}:{self._port}"

    @property
    def log(self) -> str:
        """What it printed so far."""
        return self._log_file.read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--data-dir", str(self._folder / "data"), "--host", _HOST]
        arguments += ["--port", str(self._port), "--max-workers", "1"]
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, "server", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self._wait_until_it_listens(self._process)

    def kill(self) -> None:
        """End it as a power-saving kernel would: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely."""
        self._end(signal.SIGINT)

    def suspend(self) -> None:
        """Let it stand still, with its connections open."""
        stop_all_threads(self._running().pid)

    def resume(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def _log_file(self) -> Path:
        return self._folder / "milvus-lite.log"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("Milvus Lite is not running")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process = self._running()
        process.send_signal(how)
        process.wait(_STOP_LIMIT)
        self._process = None

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_LIMIT
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"Milvus Lite ended with {process.returncode}:\n{self.log}")
            with socket.socket() as probe:
                if probe.connect_ex((_HOST, self._port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"Milvus Lite does not listen:\n{self.log}")
