"""The real Milvus that tests start is never reachable, and comes back after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import milvus_server
from tests.support.loopback_only import interfaces
from tests.support.milvus_server import MilvusServer

_RUN = (sys.executable, "-m", "tests.support.loopback_only")


def test_it_does_not_start_where_it_could_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_server, "interfaces", lambda: {"lo", "eth0"})
    server = MilvusServer(tmp_path)
    with pytest.raises(RuntimeError, match="loopback_only"):
        server.start()
    assert not list(tmp_path.iterdir())


@pytest.mark.server_only
def test_tests_run_where_there_is_only_loopback() -> None:
    assert interfaces() == {"lo"}


@pytest.mark.server_only
def test_the_runner_ends_as_its_command_does() -> None:
    script = "import socket, sys; sys.exit(7 * (socket.if_nameindex() == [(1, 'lo')]))"
    assert subprocess.run([*_RUN, sys.executable, "-c", script], check=False).returncode == 7
    assert subprocess.run([*_RUN, "/no/such/program"], check=False).returncode == 1
    assert subprocess.run(_RUN, check=False).returncode == 2
