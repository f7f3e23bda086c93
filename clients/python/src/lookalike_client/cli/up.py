"""`lookalike up`: runs the whole suite on this machine until Ctrl-C."""

import asyncio
import fcntl
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.table import Table

from lookalike.encoder.v1 import encoder_pb2
from lookalike_client.cli.exits import CommandError
from lookalike_client.cli.models import require
from lookalike_client.cli.session import console
from lookalike_client.client import Client
from lookalike_client.errors import LookalikeError
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.programs import SuiteOptions, programs
from lookalike_client.suite.supervisor import StartFailedError, Supervisor

_SERVICES = ("lookalike_encoder", "lookalike_search", "lookalike_ingest", "lookalike_gateway")
_PortOption = Annotated[int | None, typer.Option(min=1, max=65535, show_default=False)]


def up(
    *,
    data_dir: Annotated[
        Path,
        typer.Option(envvar="LOOKALIKE_DATA_DIR", help="Vectors, jobs, originals and logs."),
    ] = Path(".lookalike/data"),
    root: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="A folder that ingest may read from."),
    ] = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            min=0, max=65500, help="Use the nine ports after this one instead of the usual ones."
        ),
    ] = None,
    encoder_port: _PortOption = None,
    search_port: _PortOption = None,
    ingest_port: _PortOption = None,
    gateway_port: _PortOption = None,
    milvus_port: _PortOption = None,
) -> None:
    """Run the whole suite on this machine: four services and Milvus Lite. Ctrl-C stops it."""
    require(*_SERVICES, "milvus_lite")
    base = Ports() if port_base is None else Ports.from_base(port_base)
    ports = base.override(
        encoder=encoder_port,
        search=search_port,
        ingest=ingest_port,
        gateway=gateway_port,
        milvus=milvus_port,
    )
    _check_free(ports)
    roots = [folder.resolve() for folder in root or []]
    options = SuiteOptions(ports=ports, data_dir=data_dir.resolve(), roots=roots)
    with _claimed(options.data_dir):
        try:
            asyncio.run(run(options))
        except StartFailedError as error:
            raise CommandError(str(error)) from error


async def run(options: SuiteOptions) -> None:
    """Run the suite until SIGINT, SIGTERM or SIGHUP."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    logs = options.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    supervisor = Supervisor(programs(options), log_dir=logs, report=_report)
    begun = time.monotonic()
    console.print(f"starting; data in {options.data_dir}", soft_wrap=True)
    async with supervisor.running(until=stopping):
        if not stopping.is_set():
            seconds = time.monotonic() - begun
            await asyncio.to_thread(_show_suite, options, supervisor.pids(), seconds)
        await stopping.wait()
        console.print("stopping")


def _report(line: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {line}", soft_wrap=True)


def _check_free(ports: Ports) -> None:
    taken = ports.taken()
    if taken:
        listed = ", ".join(f"{name} {port}" for name, port in taken.items())
        raise CommandError(
            f"in use already: {listed} - stop what listens there, or choose others by --port-base"
        )


def _claimed(data_dir: Path) -> TextIO:
    """Lock the data folder for this process: two suites must not share one."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (data_dir / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise CommandError(
            f"another suite uses {data_dir} - stop it, or choose another --data-dir"
        ) from error
    return lock


def _show_suite(options: SuiteOptions, pids: dict[str, int], seconds: float) -> None:
    ports = options.ports
    table = Table("program", "address", "metrics", "process")
    for name in ("encoder", "search", "ingest", "gateway"):
        metrics = f":{getattr(ports, f'{name}_metrics')}/metrics"
        table.add_row(name, f"{HOST}:{getattr(ports, name)}", metrics, str(pids[name]))
    table.add_row("milvus", f"{HOST}:{ports.milvus}", "", str(pids["milvus"]))
    console.print(table)
    if addresses := " ".join(_unusual_addresses(ports)):
        console.print(f"for other commands: export {addresses}", soft_wrap=True)
    console.print(f"API in a browser: http://{HOST}:{ports.gateway}/docs")
    with Client(encoder=f"{HOST}:{ports.encoder}", search=f"{HOST}:{ports.search}") as client:
        console.print(f"encoders: {_encoders(client)}", soft_wrap=True)
        console.print(f"backend: {_backend(client)}", soft_wrap=True)
    console.print(f"ready after {seconds:.1f} s; Ctrl-C stops it")


def _unusual_addresses(ports: Ports) -> Iterator[str]:
    """The settings by which other commands find services that are not where they usually are."""
    for name in ("encoder", "search", "ingest", "gateway"):
        port = getattr(ports, name)
        if port != getattr(Ports(), name):
            yield f"LOOKALIKE_{name.upper()}_ADDRESS={HOST}:{port}"


def _encoders(client: Client) -> str:
    try:
        ready = [
            each for each in client.encoders() if each.state == encoder_pb2.Encoder.STATE_READY
        ]
    except LookalikeError as error:
        return f"unknown ({error})"
    if not ready:
        return "none - `lookalike models install` brings some; then start again"
    return ", ".join(f"{each.name.removeprefix('encoders/')} on {each.device}" for each in ready)


def _backend(client: Client) -> str:
    try:
        backend = client.server_info("search").backend
    except LookalikeError as error:
        return f"unknown ({error})"
    return f"{backend} - {advice(backend)}"


def advice(backend: str) -> str:
    """What a backend is good for."""
    if "lite" in backend.lower():
        return "good for up to about 50,000 vectors a collection"
    return "ready for millions of vectors"
