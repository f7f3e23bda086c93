"""The real Milvus 2.3.5 as a child process: its server is in a wheel, and runs without containers.

    python -m tests.support.milvus_server    # fetch it, once

It listens on all interfaces, on many ports, without a password. So it only starts where loopback is
the only interface: run the tests under `python -m tests.support.loopback_only`.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

import yaml

from lookalike_encoder.install.packages import fetch_packages
from lookalike_encoder.manifest import Package
from tests.support.loopback_only import LOOPBACK, interfaces
from tests.support.milvus_process import stop_all_threads
from tests.support.real_data import FOLDER, once

_PACKAGE: Final = Package(
    name="milvus",
    version="2.3.5",
    sha256="69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04",
)
_HOST: Final = "127.0.0.1"
_START_LIMIT: Final = 120.0
_STOP_LIMIT: Final = 5.0
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000
"""Ports from which no client's connection is ever made."""
_PORTS: Final = (
    *("proxy", "internal", "metrics", "etcd", "etcd_peer", "rootCoord", "queryCoord"),
    *("queryNode", "indexCoord", "indexNode", "dataCoord", "dataNode"),
)
_PROGRAM: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the test run
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What the server asks of its callers."""

    users: bool = False
    """Only users with a password; there is `root:Milvus`."""
    certificate: Path | None = None
    """PEM; with it the server speaks TLS only."""
    key: Path | None = None
    client_authority: Path | None = None
    """PEM; with it callers must have a certificate by this authority."""

    @property
    def tls_mode(self) -> int:
        """Return Milvus's number for it."""
        return 0 if self.certificate is None else 1 if self.client_authority is None else 2


class MilvusServer:
    """One server on ports of its own; what it stores survives `kill` and `start` again."""

    def __init__(self, folder: Path, *, security: Security = Security()) -> None:
        self.patience = 3
        """Seconds of standstill after which its parts give each other up, for good; the start after
        a kill waits as long."""
        self._folder = folder.resolve()
        self._security = security
        self._ports = _choose_ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it listens; the same after a restart."""
        scheme = "https" if self._security.certificate else "http"
        return f"{scheme}://{_HOST}:{self._ports['proxy']}"

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._running().pid

    @property
    def log(self) -> str:
        """What it printed so far."""
        return self._log_file.read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it says that it is well."""
        if interfaces() != {LOOPBACK}:
            raise RuntimeError("Milvus listens everywhere: run under tests.support.loopback_only")
        programs = install()
        self._configure()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(programs / "milvus"), *self._arguments()],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={
                    **os.environ,
                    "DEPLOY_MODE": "STANDALONE",
                    "METRICS_PORT": str(self._ports["metrics"]),
                    "LD_LIBRARY_PATH": str(programs),
                },
                start_new_session=True,
            )
        self._wait_until_healthy(self._process)

    def kill(self) -> None:
        """End it as a failing machine would: no goodbye."""
        process = self._running()
        process.kill()
        process.wait(_STOP_LIMIT)
        self._process = None

    def stop(self) -> None:
        """End it politely, as far as it ends by itself: it can wait for its own parts for ever."""
        process = self._running()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT)
        self.kill()

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
        return self._folder / "milvus.log"

    def _arguments(self) -> list[str]:
        # The alias names the file that keeps a second server of the same kind away.
        return ["run", "standalone", "-alias", f"{os.getpid()}-{self._ports['proxy']}"]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("Milvus is not running")
        return self._process

    def _configure(self) -> None:
        folder = self._folder / "configs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "glog.conf").write_text("--logtostderr=true\n--minloglevel=2\n")
        etcd = {
            "data-dir": str(self._folder / "etcd"),
            **_listen("client", self._ports["etcd"]),
            **_listen("peer", self._ports["etcd_peer"]),
            "initial-advertise-peer-urls": _url(self._ports["etcd_peer"]),
            "initial-cluster": f"default={_url(self._ports['etcd_peer'])}",
            "advertise-client-urls": _url(self._ports["etcd"]),
            "log-level": "error",
        }
        (folder / "etcd.yaml").write_text(yaml.safe_dump(etcd))
        (folder / "milvus.yaml").write_text(yaml.safe_dump(self._settings()))

    def _settings(self) -> dict[str, object]:
        ports, security = self._ports, self._security
        roles = ("rootCoord", "queryCoord", "queryNode", "indexCoord", "indexNode")
        settings: dict[str, object] = {
            each: {"port": ports[each]} for each in (*roles, "dataCoord", "dataNode")
        }
        # Milliseconds between looks at what is to be loaded: creations wait for them.
        settings["queryCoord"] = {
            "port": ports["queryCoord"],
            "checkChannelInterval": 50,
            "checkSegmentInterval": 50,
            "distPullInterval": 50,
        }
        return settings | {
            "etcd": {
                "endpoints": f"{_HOST}:{ports['etcd']}",
                "use": {"embed": True},
                "config": {"path": str(self._folder / "configs/etcd.yaml")},
                "data": {"dir": str(self._folder / "etcd")},
            },
            "localStorage": {"path": str(self._folder / "data")},
            "mq": {"type": "rocksmq"},
            "rocksmq": {"path": str(self._folder / "rocksmq")},
            "proxy": {
                "port": ports["proxy"],
                "internalPort": ports["internal"],
                "timeTickInterval": 20,  # milliseconds; what a strong read waits for
                "http": {"enabled": False},
            },
            "common": {
                "storageType": "local",
                "session": {"ttl": self.patience, "retryTimes": 30},
                "security": {
                    "authorizationEnabled": security.users,
                    "tlsMode": security.tls_mode,
                },
            },
            "tls": {
                "serverPemPath": str(security.certificate or ""),
                "serverKeyPath": str(security.key or ""),
                "caPemPath": str(security.client_authority or ""),
            },
            "quotaAndLimits": {"limits": {"maxCollectionNumPerDB": 65_536}},
            "log": {"level": "warn", "stdout": True},
            "grpc": {"log": {"level": "ERROR"}},
        }

    def _wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_LIMIT
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"Milvus ended with {process.returncode}:\n{self.log[-5000:]}")
            if _is_healthy(self._ports["metrics"]):
                return
            time.sleep(0.05)
        raise RuntimeError(f"Milvus does not become healthy:\n{self.log[-5000:]}")


def install() -> Path:
    """Return the folder of its programs; fetched once, checked by hash."""
    folder = FOLDER / f"{_PACKAGE.name}-{_PACKAGE.version}"
    once(folder, _unpack)
    return folder


def _unpack(folder: Path, work: Path) -> None:
    wheel = fetch_packages([_PACKAGE], work)[_PACKAGE.name]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.suffix == ".lzma":
                program = folder / path.stem
                program.write_bytes(lzma.decompress(archive.read(name)))
                program.chmod(0o755)


def _choose_ports() -> dict[str, int]:
    """Return a free port for each purpose; the namespace is ours, so they stay free."""
    blocks = range(_FIRST_PORT, _LAST_PORT, len(_PORTS))
    start = os.getpid() % len(blocks)  # so that test runs side by side do not choose the same
    for first in (*blocks[start:], *blocks[:start]):
        ports = range(first, first + len(_PORTS))
        if first not in _taken and all(map(_is_free, ports)):
            _taken.add(first)
            return dict(zip(_PORTS, ports, strict=True))
    raise RuntimeError("no free ports")


_taken: Final[set[int]] = set()
"""First ports of servers of this process, which may be down at the moment."""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
        return True


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_HOST}:{port}/healthz", timeout=5) as answer:
            return b"OK" in answer.read()
    except OSError:
        return False


def _url(port: int) -> str:
    return f"http://{_HOST}:{port}"


def _listen(whom: str, port: int) -> dict[str, str]:
    return {f"listen-{whom}-urls": _url(port)}


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
