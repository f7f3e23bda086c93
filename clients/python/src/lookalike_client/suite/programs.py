"""The five programs of a suite on one machine, with the settings that make them one suite."""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike_client.suite import probes
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.program import Program

_COMMON_ENVIRONMENT = {
    # Freed pages stay with the process: half the cost of a 1 MB request is page faults otherwise.
    "MALLOC_MMAP_THRESHOLD_": "67108864",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    # Its Linux wheels send telemetry unless told not to.
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
}
_ENCODER_ENVIRONMENT = {
    # What a burst of large photos took comes back, for a few percent of throughput.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "33554432",
}
_MILVUS_ENVIRONMENT = {
    # Its threads wait for each other in a loop: on cores that others use as well, a search of
    # several vectors took ten times as long.
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class SuiteOptions:
    """What can be chosen about a suite."""

    ports: Ports
    data_dir: Path
    """Where vectors, jobs, assets and logs are kept; absolute."""
    roots: Sequence[Path] = ()
    """Folders that ingest may read from; absolute."""
    models_dir: Path | None = None
    """Where the encoder looks for models. None: where it looks by itself."""


def programs(options: SuiteOptions) -> tuple[Program, ...]:
    """The programs of the suite, in the order in which they are shown."""
    services = ("encoder", "search", "ingest", "gateway")
    return (*(_service(name, options) for name in services), _milvus(options))


def _service(name: str, options: SuiteOptions) -> Program:
    port = getattr(options.ports, name)
    is_gateway = name == "gateway"
    return Program(
        name=name,
        command=(sys.executable, "-m", f"lookalike_{name}"),
        probe=probes.http_ok(port, "/readyz") if is_gateway else probes.grpc_health(port),
        environment=_environment(name, options),
        stage=1 if name in {"encoder", "search"} else 2,
    )


def _milvus(options: SuiteOptions) -> Program:
    ports = options.ports
    return Program(
        name="milvus",
        command=(
            sys.executable,
            *("-m", "milvus_lite", "server", "--data-dir", str(options.data_dir / "milvus")),
            *("--host", HOST, "--port", str(ports.milvus)),
            # With more than one worker kill -9 loses acknowledged rows: its WAL is not locked.
            *("--max-workers", "1"),
        ),
        probe=probes.tcp(ports.milvus),
        environment={**os.environ, **_COMMON_ENVIRONMENT, **_MILVUS_ENVIRONMENT},
        stop_signal=signal.SIGINT,  # what it closes its files on
        stage=0,
    )


def _environment(name: str, options: SuiteOptions) -> dict[str, str]:
    prefix = f"LOOKALIKE_{name.upper()}__"
    own = {f"{prefix}{key}": value for key, value in _settings(name, options).items()}
    memory = _ENCODER_ENVIRONMENT if name == "encoder" else {}
    return {**os.environ, **_COMMON_ENVIRONMENT, **memory, **own}


def _settings(name: str, options: SuiteOptions) -> Mapping[str, str]:
    """The service's settings by name, without its prefix."""
    ports = options.ports
    server = {
        "SERVER__HOST": HOST,
        "SERVER__PORT": str(getattr(ports, name)),
        "SERVER__METRICS_PORT": str(getattr(ports, f"{name}_metrics")),
    }
    encoder = {"ENCODER__ADDRESS": f"{HOST}:{ports.encoder}"}
    search = {"SEARCH__ADDRESS": f"{HOST}:{ports.search}"}
    ingest = {"INGEST__ADDRESS": f"{HOST}:{ports.ingest}"}
    own: dict[str, dict[str, str]] = {
        "encoder": {"MODELS_DIR": str(options.models_dir)} if options.models_dir else {},
        "search": {
            **encoder,
            "ASSETS__ADDRESS": f"{HOST}:{ports.ingest}",
            "MILVUS__URI": f"http://{HOST}:{ports.milvus}",
        },
        "ingest": {
            **encoder,
            **search,
            "DATA_DIR": str(options.data_dir / "ingest"),
            "ROOTS": json.dumps([str(root) for root in options.roots]),
        },
        "gateway": {**encoder, **search, **ingest},
    }
    return {**server, **own[name]}
