"""The Dockerfiles are clean, and say what a restricted pod needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike_client.suite.ports import Ports
from lookalike_client.suite.programs import SuiteOptions, programs

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
SERVICES = ("encoder", "search", "ingest", "gateway")
RUNNING = (*SERVICES, "milvus-lite")


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of the last stage."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    last = max(index for index, (word, _) in enumerate(pairs) if word == "FROM")
    return [(word, rest) for word, rest in pairs[last:]]


def dockerfile(name: str) -> Path:
    return ROOT / "deploy" / "docker" / f"{name}.Dockerfile"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, *DOCKERFILES], check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_there_is_one_for_each_image() -> None:
    assert {path.name.removesuffix(".Dockerfile") for path in DOCKERFILES} == {*RUNNING, "models"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_image_runs_as_a_numbered_user(path: Path) -> None:
    users = [rest for word, rest in instructions(path) if word == "USER"]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_base_can_be_replaced_by_a_digest(path: Path) -> None:
    text = path.read_text()
    assert "ARG BASE_IMAGE=python:3.11-slim\n" in text
    froms = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert froms == ["${BASE_IMAGE}", "${BASE_IMAGE}"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_third_party_packages_are_locked(path: Path) -> None:
    text = path.read_text()
    assert "--no-deps" in text
    assert "--require-hashes" in text
    assert not re.search(r"https?://|^ADD ", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_signals_reach_the_program(path: Path) -> None:
    last = dict(instructions(path))
    assert isinstance(json.loads(last["ENTRYPOINT"]), list)
    assert last["STOPSIGNAL"] == ("SIGINT" if "milvus" in path.name else "SIGTERM")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_image_starts_its_service(name: str) -> None:
    last = dict(instructions(dockerfile(name)))
    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", f"lookalike_{name}"]
    assert json.loads(last["CMD"]) == ["serve"]


@pytest.mark.parametrize("name", RUNNING)
def test_no_telemetry_and_memory_settings(name: str) -> None:
    environment = set(dict(instructions(dockerfile(name)))["ENV"].split())
    assert {"ORT_DISABLE_TELEMETRY=1", "PYTHONDONTWRITEBYTECODE=1"} <= environment
    allocator = {setting for setting in environment if setting.startswith("MALLOC_")}
    kept = {"MALLOC_MMAP_THRESHOLD_=67108864", "MALLOC_TRIM_THRESHOLD_=134217728"}
    returned = {
        "MALLOC_ARENA_MAX=2",
        "MALLOC_MMAP_THRESHOLD_=16777216",
        "MALLOC_TRIM_THRESHOLD_=33554432",
    }
    assert allocator == (returned if name == "encoder" else kept)
    assert ("OPENBLAS_NUM_THREADS=1" in environment) == (name == "milvus-lite")


def test_lookalike_up_sets_memory_and_threads_as_the_images_do(tmp_path: Path) -> None:
    for program in programs(SuiteOptions(ports=Ports.from_base(50050), data_dir=tmp_path)):
        name = "milvus-lite" if program.name == "milvus" else program.name
        image = dict(instructions(dockerfile(name)))["ENV"].split()
        wanted = {each for each in image if each.startswith(("MALLOC_", "OPENBLAS_"))}
        assert wanted <= {f"{key}={value}" for key, value in program.environment.items()}
