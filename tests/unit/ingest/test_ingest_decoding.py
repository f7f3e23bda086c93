"""Processes that decode: whatever becomes of one, it costs one item and nothing else."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from lookalike_common.errors import (
    CallCancelledError,
    InternalError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_common.testing import assert_eventually
from lookalike_ingest.adapters.decode_pool import DecodePool, ProcessLimits
from lookalike_ingest.decoding import TIME, Decoded, DecodeLimits, Fact
from lookalike_ingest.sources.streams import window

SMALL = ProcessLimits(
    memory_bytes=600 << 20,
    cpu_time=timedelta(seconds=1),
    silence=timedelta(seconds=30),
)
MakePool = Callable[[ProcessLimits], DecodePool]


@dataclass
class Given:
    """Bytes in memory, or in a file."""

    data: bytes = b"0123456789"
    file: Path | None = None

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data) if self.file is None else self.file.open("rb")


@pytest.fixture(scope="module")
def make_pool() -> Iterator[MakePool]:
    """Make pools of processes that know how to misbehave."""
    paths = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    made: list[DecodePool] = []

    def make(limits: ProcessLimits) -> DecodePool:
        pool = DecodePool(
            limits, DecodeLimits(max_pixels=123), package="tests.support.decode_tasks"
        )
        made.append(pool)
        return pool

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield make
    for pool in made:
        pool.close()


@pytest.fixture(scope="module")
def pool(make_pool: MakePool) -> DecodePool:
    return make_pool(SMALL)


def run(pool: DecodePool, how: str, given: Given | None = None, **arguments: Fact) -> list[Decoded]:
    return list(pool.run("behave", given or Given(), {"how": how, **arguments}))


def pid(found: list[Decoded]) -> int:
    return int(cast("int", found[0].facts["pid"]))


def exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_what_a_task_finds_comes_in_order_with_its_bytes(pool: DecodePool, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "item").write_bytes(data)
    for given in (Given(data), Given(file=tmp_path / "item"), Given(b"")):
        found = run(pool, "echo", given, size=70_000)
        expected = given.data if given.file is None else data
        assert b"".join(each.data for each in found) == expected
        assert [each.facts["bytes"] for each in found] == [len(each.data) for each in found]
        assert {each.facts["pixels"] for each in found} <= {123}


def test_a_stretch_of_a_file_is_sent_as_such(pool: DecodePool, tmp_path: Path) -> None:
    """Members of archives are not copied."""
    data = os.urandom(1000)
    (tmp_path / "archive").write_bytes(data)

    @dataclass
    class Member:
        def open(self) -> BinaryIO:
            outer = window((tmp_path / "archive").open("rb"), 100, 800)
            return window(outer, 50, 500)

    found = list(pool.run("behave", Member(), {"how": "echo"}))
    assert b"".join(each.data for each in found) == data[150:650]
    facts = next(pool.run("behave", Member(), {"how": "look", "path": "/"})).facts
    assert facts["size"] == 1000, "it is the file itself"


def test_a_process_is_used_again_and_replaced_after_some_items(make_pool: MakePool) -> None:
    pool = make_pool(replace(SMALL, tasks=3))
    seen = [pid(run(pool, "echo")) for _ in range(7)]
    assert seen == [seen[0]] * 3 + [seen[3]] * 3 + [seen[6]]
    assert len(set(seen)) == 3
    assert not exists(seen[0])


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("crash", InvalidContentError, "SIGSEGV"),
        ("abort", InvalidContentError, "SIGABRT"),
        ("spin", LimitExceededError, "processor time"),
        ("eat", LimitExceededError, "memory"),
        ("leave", InternalError, "exit status 3"),
        ("lie", InvalidContentError, "broke off"),
        ("refuse", InvalidContentError, "broken there"),
        ("defect", InvalidContentError, "ZeroDivisionError: of a library"),
    ],
)
def test_what_kills_a_process_is_the_error_of_one_item(
    pool: DecodePool, how: str, error: type[LookalikeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(pool, how)
    assert run(pool, "echo")[0].data == b"0123456789"


def test_an_error_says_where_and_what_came_before_it_is_there(pool: DecodePool) -> None:
    found = pool.run("behave", Given(), {"how": "refuse"})
    first = next(found)
    with pytest.raises(InvalidContentError) as raised:
        next(found)
    assert first.data == b"first"
    assert raised.value.metadata == {TIME: "1.5"}
    assert pid(run(pool, "echo")) == first.facts["pid"], "an item that is refused ends no process"


def test_a_task_that_gets_nowhere_is_ended(make_pool: MakePool) -> None:
    pool = make_pool(ProcessLimits(silence=timedelta(seconds=1)))
    run(pool, "echo")
    found = pool.run("behave", Given(), {"how": "hang"})
    process = pid([next(found)])
    with pytest.raises(InvalidContentError, match=r"no further for 1 s"):
        next(found)
    assert not exists(process)
    assert run(pool, "slow", seconds=1.5)[0].data == b"at last", "slow is not the same as silent"


def test_a_task_reaches_nothing_but_its_file(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(SMALL)
    monkeypatch.setenv("LOOKALIKE_INGEST__SECRET", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    (tmp_path / "secret").write_text("hidden")
    with (tmp_path / "secret").open() as leaked:
        os.set_inheritable(leaked.fileno(), True)
        facts = run(pool, "look", path=str(tmp_path / "secret"))[0].facts
    assert facts["read"] == "OSError24"
    assert facts["connect"] == "OSError24"
    assert facts["write"] == "OSError27"
    assert len(cast("list[int]", facts["open"])) == 5, "three streams, the socket, the item"
    assert not {"LOOKALIKE_INGEST__SECRET", "AWS_SECRET_ACCESS_KEY"} & set(
        cast("list[str]", facts["environment"])
    )


def test_whoever_stops_reading_ends_the_task(pool: DecodePool) -> None:
    with closing(pool.run("behave", Given(), {"how": "endless"})) as found:
        process = pid([next(found) for _ in range(3)])
    assert not exists(process)
    assert run(pool, "echo")


def test_items_do_not_wait_for_each_other(make_pool: MakePool) -> None:
    pool = make_pool(replace(SMALL, idle=1))
    held = [pool.run("behave", Given(), {"how": "echo", "size": 1}) for _ in range(3)]
    pids = [pid([next(each)]) for each in held]
    assert len(set(pids)) == 3
    for each in held:
        assert len(list(each)) == 9
    assert [exists(each) for each in pids] == [True, False, False], "one is kept"


async def test_closing_ends_everything_and_blames_no_item(make_pool: MakePool) -> None:
    pool = make_pool(SMALL)
    raised: list[BaseException] = []
    started: list[int] = []

    def read() -> None:
        try:
            started.extend(pid([each]) for each in pool.run("behave", Given(), {"how": "hang"}))
        except LookalikeError as error:
            raised.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    await assert_eventually(lambda: bool(started))
    pool.close()
    reading.join(30)
    assert [type(each) for each in raised] == [CallCancelledError]
    assert not exists(started[0])
    with pytest.raises(CallCancelledError):
        run(pool, "echo")


_SERVICE = """
import io
from lookalike_ingest.adapters.decode_pool import DecodePool, ProcessLimits
from lookalike_ingest.decoding import DecodeLimits

class Given:
    def open(self):
        return io.BytesIO(b"x")

pool = DecodePool(ProcessLimits(), DecodeLimits(), package="tests.support.decode_tasks")
for how in ("hang", "hang"):
    found = pool.run("behave", Given(), {"how": how})
    print(next(found).facts["pid"], flush=True)
"""


async def test_processes_end_with_a_service_that_is_killed(pool: DecodePool) -> None:
    assert run(pool, "echo"), "the path to the tasks is set"
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVICE, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout is not None
    process = int(await service.stdout.readline())
    service.kill()
    await service.wait()
    await assert_eventually(lambda: not exists(process))
