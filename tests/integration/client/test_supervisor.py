"""The supervisor with real child processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike_client.suite import probes
from lookalike_client.suite.ports import Ports
from lookalike_client.suite.program import Program
from lookalike_client.suite.supervisor import Patience, StartFailedError, Supervisor
from lookalike_common.testing import assert_eventually
from tests.support.suite import alive

HERE = Path(__file__).parent
QUICK = Patience(
    poll=timedelta(milliseconds=20),
    stop=timedelta(seconds=1),
    first_restart=timedelta(milliseconds=50),
    longest_restart=timedelta(milliseconds=100),
)


def listener(port: int, folder: Path, *, order: str = "", stage: int = 0) -> Program:
    return Program(
        name=f"listener-{port}",
        command=(
            sys.executable,
            str(HERE / "listener.py"),
            str(port),
            str(folder / "events"),
            order,
        ),
        probe=probes.tcp(port),
        environment=os.environ,
        stage=stage,
    )


def supervise(*programs: Program, folder: Path, reports: list[str]) -> Supervisor:
    return Supervisor(programs, log_dir=folder, report=reports.append, patience=QUICK)


def events(folder: Path) -> list[str]:
    return (folder / "events").read_text().splitlines()


async def test_a_killed_program_is_restarted(tmp_path: Path) -> None:
    port = Ports.free().encoder
    reports: list[str] = []
    supervisor = supervise(listener(port, tmp_path), folder=tmp_path, reports=reports)
    name = f"listener-{port}"
    async with supervisor.running():
        for round_ in (1, 2):
            before = supervisor.pids()[name]
            os.kill(before, signal.SIGKILL)
            await assert_eventually(lambda: reports.count(f"{name} is ready again") == round_)  # noqa: B023 - run at once
            assert supervisor.pids()[name] != before
    assert [line for line in reports if "was ended by SIGKILL" in line]


async def test_programs_stop_in_the_order_of_their_use(tmp_path: Path) -> None:
    ports = Ports.free()
    low = listener(ports.milvus, tmp_path, stage=0)
    high = listener(ports.search, tmp_path, stage=1)
    async with supervise(low, high, folder=tmp_path, reports=[]).running():
        pass
    stops = [line for line in events(tmp_path) if line.endswith("SIGTERM")]
    assert stops == [f"{ports.search} SIGTERM", f"{ports.milvus} SIGTERM"]


async def test_a_program_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    port = Ports.free().encoder
    reports: list[str] = []
    program = listener(port, tmp_path, order="ignore-sigterm")
    supervisor = supervise(program, folder=tmp_path, reports=reports)
    async with supervisor.running():
        pid = supervisor.pids()[program.name]
    assert not alive(pid)
    assert reports == [f"listener-{port} did not stop in time and is killed"]


async def test_a_program_that_cannot_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    ports = Ports.free()
    broken = listener(ports.encoder, tmp_path, order="exit-at-once")
    supervisor = supervise(broken, listener(ports.search, tmp_path), folder=tmp_path, reports=[])
    with pytest.raises(StartFailedError, match=r"does not start[\s\S]*this program never starts"):
        async with supervisor.running():
            pytest.fail("it was never ready")
    assert not any(alive(pid) for pid in supervisor.pids().values())


async def test_a_program_that_is_never_ready_is_named(tmp_path: Path) -> None:
    ports = Ports.free()
    deaf = Program(
        name="deaf",
        command=(sys.executable, "-uc", "import signal; print('no ears'); signal.pause()"),
        probe=probes.tcp(ports.search),
        environment=os.environ,
    )
    patience = Patience(unremarkable=timedelta(seconds=1), ready=timedelta(seconds=2))
    reports: list[str] = []
    supervisor = Supervisor([deaf], log_dir=tmp_path, report=reports.append, patience=patience)
    with pytest.raises(StartFailedError, match=r"not ready in time: deaf[\s\S]*no ears"):
        async with supervisor.running():
            pytest.fail("it was never ready")
    log = tmp_path / "deaf.log"
    assert reports == [f"still waiting for deaf; {log} ends with\nno ears"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
async def test_killing_the_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    ports = Ports.free()
    command = [sys.executable, str(HERE / "run_supervisor.py"), str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *command, str(ports.encoder), str(ports.search), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pids = list(json.loads(await process.stdout.readline()).values())
    assert all(alive(pid) for pid in pids)
    process.kill()
    await process.wait()
    await assert_eventually(lambda: not any(alive(pid) for pid in pids))
