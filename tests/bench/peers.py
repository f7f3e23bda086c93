"""Processes for benchmarks: a service of ours, Milvus Lite or another, each pinned to its core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / ".lookalike" / "models"
PATIENCE = 60.0
_LARGE = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "134217728"}
_MODEST = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "33554432",
}
MEMORY = {"ORT_DISABLE_TELEMETRY": "1"}


def pin(core: int) -> None:
    """Keep this process on one core, where there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def on_core(core: int | None, command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` on one core, or where it likes."""
    if core is None:
        return list(command)
    return ["taskset", "--cpu-list", str(core % (os.cpu_count() or 1)), *command]


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(service: str, environment: Mapping[str, str], *, core: int | None) -> Iterator[str]:
    """Run a service of ours on one core; yields its address once it is healthy."""
    port = free_port()
    prefix = f"LOOKALIKE_{service.upper()}__"
    ports = {f"{prefix}SERVER__METRICS_PORT": "0", f"{prefix}SERVER__PORT": str(port)}
    command = [sys.executable, "-m", f"lookalike_{service}"]
    memory = _MODEST if service == "encoder" else _LARGE  # as images and `lookalike up` set it
    with running(command, os.environ | MEMORY | memory | ports | dict(environment), core):
        address = f"127.0.0.1:{port}"
        wait_for(lambda: _serves(address), f"{service} at {address}")
        yield address


@contextmanager
def started_gateway(environment: Mapping[str, str]) -> Iterator[str]:
    """Run the gateway; yields its base URL once it answers."""
    port = free_port()
    full = os.environ | MEMORY | dict(environment) | {"LOOKALIKE_GATEWAY__SERVER__PORT": str(port)}
    full |= {"LOOKALIKE_GATEWAY__SERVER__METRICS_PORT": "0"}
    with running([sys.executable, "-m", "lookalike_gateway"], full, None):
        wait_for(lambda: listens(port), "the gateway")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def milvus_lite(*, core: int | None) -> Iterator[str]:
    """Run an empty Milvus Lite server on one core; yields its URI."""
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        command = [str(Path(sys.executable).parent / "milvus-lite"), "server"]
        command += ["--data-dir", data, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--max-workers", "1"]
        with running(command, os.environ | {"OPENBLAS_NUM_THREADS": "1"}, core):
            wait_for(lambda: listens(port), "Milvus Lite")
            yield f"http://127.0.0.1:{port}"


@contextmanager
def running(
    command: list[str],
    environment: Mapping[str, str],
    core: int | None,
    *,
    folder: Path | None = None,
    log: IO[bytes] | None = None,
    grace: float = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process; with all it started, it is killed in the end, `grace` seconds after a hint."""
    child = subprocess.Popen(
        on_core(core, command),
        cwd=folder,
        env=environment,
        stdout=log or subprocess.DEVNULL,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if grace:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds; raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {PATIENCE:.0f} s")
        time.sleep(0.1)


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # it ships no types
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def listens(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
