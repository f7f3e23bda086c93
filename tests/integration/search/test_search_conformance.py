"""What `lookalike-search contract` finds out about the Milvus under test is what its table says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike_common.errors import InternalError
from lookalike_search.adapters.milvus import MilvusStore
from lookalike_search.cli import main
from lookalike_search.conformance import FEATURES, Feature, Verdict, examine, expected
from lookalike_search.conformance.run import examine_one
from lookalike_search.conformance.trial import TENANT, Trial, ensure

_BACKENDS = ("milvus-lite", "milvus-2.3", "milvus-2.6")
_PAGE = Path(__file__).parents[3] / "docs/backends.md"


@pytest.fixture
async def store(milvus_uri: str) -> AsyncIterator[MilvusStore]:
    async with MilvusStore(milvus_uri) as opened:
        assert await opened.wait_until_available(timedelta(seconds=30))
        yield opened


async def test_features(store: MilvusStore) -> None:
    reports = await examine(store)
    backend = store.capabilities.backend
    assert len(reports) == len(FEATURES)
    for each in reports:
        assert each.verdict is expected(backend, each.feature.name), (each.feature, each.detail)
        assert (each.verdict is Verdict.WORKS) is not bool(each.detail)


async def test_nothing_is_left_behind_and_a_wrong_answer_is_a_failure(store: MilvusStore) -> None:
    made: list[str] = []

    async def give_a_wrong_answer(trial: Trial) -> None:
        made.append(await trial.new())
        ensure(1, 2, "one")

    async def break_down(trial: Trial) -> None:
        made.append(await trial.new())
        raise InternalError("something broke")

    for check, reason in ((give_a_wrong_answer, "one: 1 instead of 2"), (break_down, "broke")):
        report = await examine_one(store, Feature("made-up", "Made up", check))
        assert report.verdict is Verdict.FAILS
        assert reason in report.detail
        assert not report.is_well
    assert not set(made) & set(await store.list_ids(TENANT))


def test_the_command_prints_the_table(milvus_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["contract", "--uri", milvus_uri]
    code = main([*arguments, "--only", "collections", "--only", "sparse-vectors"])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert re.search(r"^milvus-(lite|2\.3) \(.+\)$", printed, re.MULTILINE)
    assert re.search(r"^Create, get and delete collections +works$", printed, re.MULTILINE)
    assert re.search(
        r"^Sparse vectors that callers bring +refused: .*sparse", printed, re.MULTILINE
    )


def test_the_command_when_nobody_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_SEARCH__MILVUS__START_LIMIT", "PT0.1S")
    assert main(["contract", "--uri", "http://127.0.0.1:1"]) == 3
    assert main(["contract", "--uri", "ftp://x"]) == 2
    assert "http://127.0.0.1:1" in capsys.readouterr().err


def test_the_doctor_hands_over_to_it() -> None:
    nobody = "http://127.0.0.1:1"
    command = [sys.executable, "-m", "lookalike_client", "doctor", "--contract", nobody]
    environment = {**os.environ, "LOOKALIKE_SEARCH__MILVUS__START_LIMIT": "PT0.1S"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert nobody in ended.stderr


def test_the_page_shows_the_table() -> None:
    rows = re.findall(r"^\| (.+?) \| (\w+) \| (\w+) \| (\w+) \|$", _PAGE.read_text(), re.MULTILINE)
    wanted = [
        (each.title, *(expected(backend, each.name).value for backend in _BACKENDS))
        for each in FEATURES
    ]
    assert rows == wanted
