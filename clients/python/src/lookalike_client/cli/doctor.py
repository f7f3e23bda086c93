"""`lookalike doctor`: reaches every service and says what is wrong, and what to do."""

import http.client
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, get_args

import typer
from rich.table import Table

from lookalike.encoder.v1 import encoder_pb2
from lookalike.search.v1 import collection_pb2
from lookalike.type.v1 import server_info_service_pb2
from lookalike_client.cli.exits import ExitCode, unreachable
from lookalike_client.cli.models import require
from lookalike_client.cli.session import Session, console, session_of, state_word
from lookalike_client.client import Client, Service
from lookalike_client.errors import LookalikeError

_LITE_VECTORS = 50_000
_PATIENCE = timedelta(seconds=5)
"""For one answer: what takes longer is a finding."""


@dataclass
class Findings:
    """What the doctor saw."""

    servers: dict[Service, server_info_service_pb2.ServerInfo] = field(default_factory=dict)
    """Those that answered."""
    serving: dict[str, bool] = field(default_factory=dict)
    """Whether a service that answered says that it serves."""
    encoders: list[encoder_pb2.Encoder] = field(default_factory=list)
    collections: list[collection_pb2.Collection] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong, each with what to do."""


def doctor(
    context: typer.Context,
    contract: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Find out instead what the Milvus at this URI can do."),
    ] = None,
) -> None:
    """Look at every service, its version, backend, encoders and limits; say what is wrong."""
    if contract is not None:
        require("lookalike_search")
        command = [sys.executable, "-m", "lookalike_search", "contract", "--uri", contract]
        ended = subprocess.run(command, check=False)  # noqa: S603 - our own program
        raise typer.Exit(ended.returncode)
    session = session_of(context)
    session = replace(session, timeout=min(session.timeout, _PATIENCE))
    with session.client(health_checked=False) as client:
        findings = examine(client, session)
    console.print(_servers_table(findings, session))
    if findings.encoders:
        console.print(_encoders_table(findings.encoders))
    if findings.servers:
        console.print(_limits_table(findings))
    for problem in findings.problems:
        console.print(f"✗ {problem}", soft_wrap=True)
    if not findings.problems:
        console.print("all is well")
    reached = len(findings.servers) == len(get_args(Service))
    if findings.problems:
        raise typer.Exit(ExitCode.REFUSED if reached else ExitCode.UNREACHABLE)


def examine(client: Client, session: Session) -> Findings:
    """Ask everybody; whatever goes wrong becomes a problem."""
    findings = Findings()
    for service in get_args(Service):
        _examine_server(client, service, getattr(session, service), findings)
    if "encoder" in findings.servers:
        _examine_encoders(client, findings)
    if "search" in findings.servers:
        _examine_collections(client, findings)
    _examine_gateway(session.gateway, findings)
    _compare_versions(findings)
    return findings


def _examine_server(client: Client, service: Service, address: str, findings: Findings) -> None:
    try:
        findings.servers[service] = client.server_info(service)
        findings.serving[service] = client.is_serving(service)
    except LookalikeError as error:
        findings.problems.append(
            f"{service} does not answer at {address}: {unreachable(error)} - start it "
            f"(`lookalike up`), or say where it is (--{service})"
        )
        return
    if not findings.serving[service]:
        findings.problems.append(
            f"{service} says that it is not serving - what it needs may be away; see its log"
        )


def _examine_encoders(client: Client, findings: Findings) -> None:
    try:
        findings.encoders.extend(client.encoders())
    except LookalikeError as error:
        findings.problems.append(f"the encoders cannot be listed: {error}")
        return
    if not findings.encoders:
        findings.problems.append("no encoder is installed - `lookalike models install`")
    for encoder in findings.encoders:
        if encoder.state == encoder_pb2.Encoder.STATE_FAILED:
            findings.problems.append(
                f"{encoder.name} was refused: {encoder.error.message} - "
                "`lookalike models verify`, then install it again"
            )


def _examine_collections(client: Client, findings: Findings) -> None:
    try:
        findings.collections.extend(client.collections())
    except LookalikeError as error:
        findings.problems.append(
            f"the collections cannot be listed: {error} - is Milvus alive? See its log"
        )
        return
    current = {encoder.fingerprint for encoder in findings.encoders}
    for collection in findings.collections:
        findings.problems.extend(_collection_problems(collection, current))


def _collection_problems(collection: collection_pb2.Collection, current: set[str]) -> Iterator[str]:
    if "lite" in collection.backend and collection.entity_count > _LITE_VECTORS:
        yield (
            f"{collection.name} has {collection.entity_count:,} entities: too many for Milvus Lite "
            "- move to a Milvus server (LOOKALIKE_SEARCH__MILVUS__URI)"
        )
    for vectors in collection.vector_fields:
        bound = vectors.encoder_fingerprint
        if bound and current and bound not in current:
            yield (
                f"{collection.name} is bound to another {vectors.encoder} ({bound[:12]}…) than "
                "the one that is installed - install that model again, or ingest anew"
            )


def _examine_gateway(address: str, findings: Findings) -> None:
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE.total_seconds())
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except OSError as error:
        findings.problems.append(
            f"gateway does not answer at {address}: {error} - start it, or say where it is "
            "(--gateway)"
        )
        return
    finally:
        connection.close()
    findings.serving["gateway"] = status == http.HTTPStatus.OK
    if status != http.HTTPStatus.OK:
        findings.problems.append(f"gateway is not ready (HTTP {status}) - see its log")


def _compare_versions(findings: Findings) -> None:
    versions = {info.version for info in findings.servers.values()}
    if len(versions) > 1:
        found = ", ".join(f"{name} {info.version}" for name, info in findings.servers.items())
        findings.problems.append(f"the services have different versions: {found} - upgrade all")


def _servers_table(findings: Findings, session: Session) -> Table:
    table = Table("service", "address", "state", "version", "backend", "features")
    for service in get_args(Service):
        info = findings.servers.get(service)
        state = {True: "serving", False: "not serving", None: "away"}
        table.add_row(
            service,
            getattr(session, service),
            state[findings.serving.get(service)],
            info.version if info else "",
            info.backend if info else "",
            ", ".join(info.features) if info else "",
        )
    gateway = {True: "ready", False: "not ready", None: "away"}[findings.serving.get("gateway")]
    table.add_row("gateway", session.gateway, gateway, "", "", "")
    return table


def _encoders_table(encoders: Sequence[encoder_pb2.Encoder]) -> Table:
    table = Table("encoder", "state", "device", "dimensions", "fingerprint")
    for encoder in encoders:
        table.add_row(
            encoder.name,
            state_word(encoder_pb2.Encoder.State.Name(encoder.state)),
            encoder.device,
            str(encoder.dimensions),
            encoder.fingerprint[:12],
        )
    return table


def _limits_table(findings: Findings) -> Table:
    table = Table("service", "limit")
    table.add_column("value", justify="right")
    for service, info in findings.servers.items():
        for name, value in sorted(info.limits.items()):
            table.add_row(service, name, f"{value:,}")
    return table
