"""The README's own commands, run as a newcomer runs them, on the suite that they start.

A home folder of its own makes `~/photos` and `holiday.jpg` what they say. All that is changed in
the text of a block is in `_adapted`.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike_client.demo import edits, photos
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.program import tethered
from lookalike_common.testing import assert_eventually
from tests.support.suite import MODELS, Ended, run
from tools.fetch_grpcurl import grpcurl

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
START, FILL_AND_SEARCH, CALL, CALL_OVER_HTTP = re.findall(
    r"^```sh\n(.*?)^```",
    README.partition("## Use it\n")[2],
    re.MULTILINE | re.DOTALL,
)
ACTIVATE = START.partition("\n")[0]
"""What each terminal begins with."""
HOLIDAY = "chelsea.png"


@dataclass(frozen=True)
class Newcomer:
    """Somebody with some photos, at a shell."""

    home: Path
    ports: Ports
    photos: photos.PhotoSet

    def shell(self, block: str, *, entity: str = "") -> list[str]:
        """The command that runs a block and ends with the first of its commands that fails."""
        script = self._adapted(f"cd {self.home}\n{ACTIVATE}\n{block}").replace("<id>", entity)
        return ["/bin/bash", "-euo", "pipefail", "-c", script]

    def run(self, block: str, *, entity: str = "") -> str:
        """Run a block; return what it printed."""
        ended: Ended = run(*self.shell(block, entity=entity), **self.environment())
        assert ended.code == 0, ended.output + ended.complaints
        return ended.output

    def environment(self) -> dict[str, str]:
        """Where the suite and its models are, if not where they usually are."""
        addresses = {
            f"LOOKALIKE_{name.upper()}_ADDRESS": f"{HOST}:{getattr(self.ports, name)}"
            for name in ("encoder", "search", "ingest", "gateway")
        }
        return {
            **addresses,
            "LOOKALIKE_ENCODER__MODELS_DIR": str(MODELS),
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
        }

    def _adapted(self, block: str) -> str:
        base = self.ports.encoder - 1
        return (
            block.replace("source .venv/", f"source {sys.prefix}/")
            .replace("lookalike up ", f"exec lookalike up --port-base {base} ")
            .replace("localhost:50052", f"localhost:{self.ports.search}")
            .replace("localhost:8080", f"localhost:{self.ports.gateway}")
        )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A newcomer who has run the first block, up to `ready`."""
    home = tmp_path_factory.mktemp("newcomer")
    found = photos.samples(home / "photos")
    original = (found.folder / HOLIDAY).read_bytes()
    (home / "holiday.jpg").write_bytes(edits.jpeg_20(edits.upright(original)))
    (home / "bin").mkdir()
    shutil.copy(grpcurl(), home / "bin" / "grpcurl")
    somebody = Newcomer(home, Ports.from_base(Ports.free_base()), found)
    output = home / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            tethered(somebody.shell(START), parent=os.getpid()),
            env={**os.environ, **somebody.environment()},
            stdout=log,
            stderr=log,
        )
    try:
        asyncio.run(assert_eventually(lambda: _is_ready(process, output), timeout=150))
        yield somebody
    finally:
        process.terminate()
        process.wait()


def _is_ready(process: "subprocess.Popen[bytes]", output: Path) -> bool:
    printed = output.read_text(encoding="utf-8")
    if process.poll() is not None:
        pytest.fail(printed)
    return "ready after" in printed


@pytest.fixture(scope="module")
def printed(newcomer: Newcomer) -> str:
    """What filling the collection and searching in it printed."""
    return newcomer.run(FILL_AND_SEARCH)


def test_photos_are_ingested_and_found(newcomer: Newcomer, printed: str) -> None:
    assert f"{len(newcomer.photos.paths())} created" in printed
    (best,) = (line for line in printed.splitlines() if re.match(r"│ +1 │", line))
    assert HOLIDAY in best
    assert len(re.findall(r"^│ +\d │", printed, re.MULTILINE)) == 5
    assert "all is well" in printed


@pytest.mark.usefixtures("printed")
def test_the_same_goes_over_grpc_and_http(newcomer: Newcomer) -> None:
    answered = newcomer.run(CALL)
    assert "lookalike.search.v1.SearchService\n" in answered
    assert "// Finds the entities closest to one query" in answered
    by_grpc = json.loads(answered[answered.index("\n{") :])["hits"]
    assert len(by_grpc) == 5
    assert by_grpc[0]["entity"]["item"] == HOLIDAY

    entity = by_grpc[0]["entity"]["name"].rpartition("/")[2]
    by_http = json.loads(newcomer.run(CALL_OVER_HTTP, entity=entity))["hits"]
    assert len(by_http) == 5
    assert HOLIDAY not in {hit["entity"]["item"] for hit in by_http}
    assert {hit["entity"]["item"] for hit in by_grpc[1:]} & {
        hit["entity"]["item"] for hit in by_http
    }
