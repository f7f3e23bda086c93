"""The guide to searching, run block by block on a real suite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lookalike_search.filters import check, parse
from lookalike_search.model import AttributeType
from tests.support.guide import Guide
from tests.support.suite import Ended, Suite

GUIDE = Guide(Path(__file__).parents[2] / "docs" / "search.md")


@pytest.fixture(scope="module")
def ended(running_suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """How each block ended, in their order, in a folder of their own."""
    home = tmp_path_factory.mktemp("guide")
    return [GUIDE.run(each, running_suite, home) for each in GUIDE.blocks]


def test_every_block_does_what_it_says(ended: list[Ended]) -> None:
    assert len(ended) == 10
    for (_, block), each in zip(GUIDE.blocks, ended, strict=True):
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
    table = GUIDE.text.partition("| asking for |")[2].partition("\n\n")[0]
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
