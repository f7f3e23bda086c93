"""The READMEs' own commands, run as a newcomer runs them, on the suite that they start.

A home folder of its own makes `~/photos` and `holiday.jpg` what they say. All that is changed in
the text of a block is in `_adapted`, and the placeholders beside each call.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike_client.demo import edits, photos
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.program import tethered
from lookalike_common.testing import assert_eventually
from tests.support.suite import MODELS, run
from tools.fetch_grpcurl import grpcurl

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(readme: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return _BLOCK.findall(text.partition("## Use it\n")[2] or text)


START, FILL_AND_SEARCH, CALL, CALL_OVER_HTTP = _blocks("README.md")
ACTIVATE = START.partition("\n")[0]
"""What each terminal begins with."""
HOLIDAY = "chelsea.png"


@dataclass(frozen=True)
class Newcomer:
    """Somebody with some photos, at a shell."""

    home: Path
    ports: Ports
    photos: photos.PhotoSet

    def shell(self, block: str) -> list[str]:
        """The command that runs a block and ends with the first of its commands that fails."""
        script = self._adapted(f"cd {self.home}\n{ACTIVATE}\n{block}")
        return ["/bin/bash", "-euo", "pipefail", "-c", script]

    def run(self, block: str, placeholders: Mapping[str, str] | None = None) -> str:
        """Run a block; return what it printed."""
        for placeholder, value in (placeholders or {}).items():
            assert placeholder in block
            block = block.replace(placeholder, value)
        ended = run(*self.shell(block), **self.environment())
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
        start = f"exec lookalike up --port-base {self.ports.encoder - 1} "
        block = block.replace("source .venv/", f"source {sys.prefix}/")
        block = block.replace("lookalike up ", start)
        usual = Ports()
        for name in ("encoder", "search", "ingest", "gateway"):
            here = rf"\1:{getattr(self.ports, name)}"
            block = re.sub(rf"(localhost|127\.0\.0\.1):{getattr(usual, name)}\b", here, block)
        return block


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A newcomer who has run the first block, up to `ready`."""
    home = tmp_path_factory.mktemp("newcomer")
    found = photos.samples(home / "photos")
    original = (found.folder / HOLIDAY).read_bytes()
    (home / "holiday.jpg").write_bytes(edits.jpeg_20(edits.upright(original)))
    (home / "bin").mkdir()
    shutil.copy(grpcurl(), home / "bin" / "grpcurl")
    if shutil.which("curl") is None:
        _stand_in(home / "bin" / "curl", ROOT / "tests" / "support" / "curl.py")
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


def _stand_in(program: Path, script: Path) -> None:
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(0o755)


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
    by_http = json.loads(newcomer.run(CALL_OVER_HTTP, {"<id>": entity}))["hits"]
    assert len(by_http) == 5
    assert HOLIDAY not in {hit["entity"]["item"] for hit in by_http}
    assert {hit["entity"]["item"] for hit in by_grpc[1:]} & {
        hit["entity"]["item"] for hit in by_http
    }


def _examples(service: str) -> str:
    """The block of a service's README that calls it."""
    (block,) = (each for each in _blocks(f"services/{service}/README.md") if "curl -" in each)
    return block


def test_examples_of_the_encoder(newcomer: Newcomer) -> None:
    (result,) = json.loads(newcomer.run(_examples("encoder")))["results"]
    assert '"values"' in json.dumps(result)


def test_examples_of_search(newcomer: Newcomer) -> None:
    answered = newcomer.run(_examples("search"))
    assert '"OUTCOME_CREATED"' in answered
    assert '"item": "1"' in answered


@pytest.fixture
def job(newcomer: Newcomer, printed: str) -> str:
    """The id of the job that filled the collection."""
    assert printed
    [*_, job] = json.loads(newcomer.run("lookalike jobs list --collection photos --output json"))
    return str(job["name"]).partition("/")[2]


def test_examples_of_the_gateway(newcomer: Newcomer, job: str) -> None:
    answered = newcomer.run(_examples("gateway"), {"JOB": job, "photo.jpg": "holiday.jpg"})
    assert f'"item":"{HOLIDAY}"' in answered
    assert '"state":"STATE_SUCCEEDED"' in answered


def test_examples_of_ingest(newcomer: Newcomer, job: str) -> None:
    folder = newcomer.photos.folder.as_uri()
    answered = newcomer.run(
        _examples("ingest"), {"file:///photos": folder, "jobs/…": f"jobs/{job}"}
    )
    assert '"STATE_PENDING"' in answered
    assert '"STATE_SUCCEEDED"' in answered
