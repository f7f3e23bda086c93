"""The guide to searching, run block by block on a real suite."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from lookalike_client.suite.ports import Ports
from lookalike_search.filters import check, parse
from lookalike_search.model import AttributeType
from tests.support.suite import Ended, Suite, run
from tools.fetch_grpcurl import grpcurl

GUIDE = Path(__file__).parents[2] / "docs" / "search.md"
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall(GUIDE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ended(running_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """How each block ended, in their order, in a folder of their own."""
    home = tmp_path_factory.mktemp("guide")
    (home / "bin").mkdir()
    (home / "bin" / "grpcurl").symlink_to(grpcurl())
    return [_run(running_suite, home, kind, block) for kind, block in BLOCKS]


def _run(suite: Suite, home: Path, kind: str, block: str) -> Ended:
    addresses = {
        f"LOOKALIKE_{name.upper()}_ADDRESS": suite.address(name)
        for name in ("encoder", "search", "ingest", "gateway")
    }
    here = f"localhost:{suite.ports.search}"
    block = block.replace(f"localhost:{Ports().search}", here)
    block = block.replace("Client()", f'Client(search="{suite.address("search")}")')
    path = f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = (
        [sys.executable, "-c", block]
        if kind == "python"
        else ["/bin/bash", "-euo", "pipefail", "-c", f"cd {home}\n{block}"]
    )
    return run(*program, **addresses, PATH=path, COLUMNS="160")


def test_every_block_does_what_it_says(ended: list[Ended]) -> None:
    assert len(ended) == 10
    for (_, block), each in zip(BLOCKS, ended, strict=True):
        assert each.code == 0, block + each.output + each.complaints


def test_answers(ended: list[Ended]) -> None:
    (fill, ways, narrowed, like, bits, alias, living, moved, program, call) = (
        each.output for each in ended
    )
    assert "6 created" in fill
    assert fill.splitlines()[-1] == "2"
    assert _firsts(ways) == ["cat", "car", "bus"]
    assert "encode" in ended[1].complaints
    assert "dog" not in narrowed.partition("group")[0]
    assert {"pets", "traffic"} <= set(re.findall(r"\w+", narrowed))
    assert re.search(r"pets ←", like)
    assert _firsts(bits)[0] == "aspirin"
    assert bits.count("salicylic acid") == 2
    assert "caffeine" not in bits
    assert "1.00" in bits
    assert _firsts(alias) == ["cat"]
    assert "30 days, 0:00:00" in living
    assert "TYPE_FLAT" in moved
    assert program.split()[1] == "bus"
    assert '"item": "cat"' in call
    assert '"item": "bike"' in call
    assert "deleted 1\n" in call


def test_filters_are_such() -> None:
    table = GUIDE.read_text(encoding="utf-8").partition("| asking for |")[2].partition("\n\n")[0]
    filters = re.findall(r"`([^`]+)`", table)
    assert len(filters) == 10
    types = {
        "stars": AttributeType.INT,
        "taken": AttributeType.TIMESTAMP,
        "sold": AttributeType.BOOL,
        "topic": AttributeType.STRING,
        "tags": AttributeType.STRING_LIST,
        "price": AttributeType.DOUBLE,
    }
    for each in filters:
        check(parse(each), types)


def _firsts(output: str) -> list[str]:
    """The item of the first hit of each table."""
    return re.findall(r"^│ +1 │.*?│ (\w+) +│", output, re.MULTILINE)
