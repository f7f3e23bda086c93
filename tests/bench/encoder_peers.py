"""Other servers of the same model: each in an environment of its own below `.lookalike/peers`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.peers import MODELS, ROOT, free_port, listens, running
from tests.bench.worker import Worker, worker

ENVIRONMENTS: Final = ROOT / ".lookalike" / "peers"
SERVERS: Final = Path(__file__).parent / "peer_servers"
PATIENCE: Final = 60.0
GRACE: Final = 15.0
_SHARED: Final = ("onnxruntime", "tokenizers")


class PeerError(Exception):
    """A peer cannot be measured; says why."""


@dataclass(frozen=True)
class Peer:
    """A server to compare with."""

    name: str
    requirement: str
    caller: str
    """Of encoder_callers.CALLERS."""

    @property
    def folder(self) -> Path:
        """Its environment."""
        return ENVIRONMENTS / self.name

    @property
    def log(self) -> Path:
        """What it printed when it ran last."""
        return ENVIRONMENTS / f"{self.name}.log"


PEERS: Final = {
    each.name: each
    for each in (
        Peer("mlserver", "mlserver==1.7.1", "open_inference"),
        Peer("triton", "nvidia-pytriton==0.7.0", "open_inference"),
        Peer("litserve", "litserve==0.2.19", "http"),
    )
}


def install(peer: Peer) -> None:
    """Make its environment where there is none, with our versions of what runs the model."""
    wanted = [peer.requirement, *(f"{each}=={version(each)}" for each in _SHARED)]
    marker = peer.folder / "installed.txt"
    if marker.is_file() and marker.read_text(encoding="utf-8").split() == wanted:
        return
    _call([sys.executable, "-m", "venv", "--clear", str(peer.folder)])
    _call([str(peer.folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted])
    marker.write_text("\n".join(wanted), encoding="utf-8")


def _call(command: Sequence[str]) -> None:
    quiet = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"not installed: {_last(done.stderr or done.stdout)}")


@contextmanager
def started_peer(peer: Peer, *, server_core: int, client_core: int) -> Iterator[Worker]:
    """Run a peer on one core; yields a caller of it on the other once it answers."""
    port = free_port()
    command = [str(peer.folder / "bin" / "python"), str(SERVERS / f"{peer.name}_server.py")]
    with (
        tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as empty,
        peer.log.open("wb") as log,
        running(
            [*command, str(port)],
            os.environ | _environment(empty),
            server_core,
            folder=Path(empty),
            log=log,
            grace=GRACE,
        ) as process,
        worker("encoder_callers", peer.caller, f"127.0.0.1:{port}", core=client_core) as caller,
    ):
        _await_answer(peer, process, port, caller)
        yield caller


def _environment(folder: str) -> dict[str, str]:
    """Return the same for all: one thread, the model, nothing sent anywhere, no files left."""
    return {
        "BENCH_MODEL": str(MODELS / "minilm-l6-v2@1"),
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),  # Triton's Python backend
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "OTEL_SDK_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(SERVERS),
        "PYTRITON_HOME": folder,
        "RAYON_NUM_THREADS": "1",
    }


def _await_answer(peer: Peer, process: subprocess.Popen[bytes], port: int, caller: Worker) -> None:
    """Return once it encodes; raises PeerError if it ends, or does not for a minute."""
    deadline = time.monotonic() + PATIENCE
    said = "it does not listen"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output = peer.log.read_text(encoding="utf-8", errors="replace")
            raise PeerError(f"it ended with {process.returncode}: {_last(output)}")
        if listens(port):
            try:
                caller.ask(do="vectors", kind="minilm_short", count=1)
            except RuntimeError as error:
                said = _last(str(error))
            else:
                return
        time.sleep(0.2)
    raise PeerError(f"no answer after {PATIENCE:.0f} s: {said}")


def _last(output: str) -> str:
    """Return the last line that names an error, or else the last."""
    lines = output.strip().splitlines() or ["it said nothing"]
    errors = [each for each in lines if re.search(r"(?i)error|exception", each)]
    return (errors or lines)[-1].strip()[:300]
