"""The suite's programs, supervised as `lookalike up` does, but back at once when killed.

With a PostgreSQL there are two ingest services on it, which share a data folder, and it can be
killed as well.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from lookalike_client import Client
from lookalike_client.suite import probes
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.program import Program
from lookalike_client.suite.programs import SuiteOptions, programs
from lookalike_client.suite.supervisor import Patience, Supervisor
from lookalike_common.testing import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.suite import MODELS

POSTGRES: Final = "postgres"
_LOG: Final = logging.getLogger(__name__)
_IMPATIENT: Final = Patience(
    first_restart=timedelta(milliseconds=50),
    longest_restart=timedelta(milliseconds=50),
    ready=timedelta(minutes=3),
)


@dataclass(frozen=True)
class SupervisedSuite:
    """Running programs, each of which can be killed."""

    ports: Ports
    supervisor: Supervisor
    postgres: PostgresServer | None = None

    @property
    def programs(self) -> list[str]:
        """What can be killed."""
        return [*sorted(self.supervisor.pids()), *([POSTGRES] if self.postgres else [])]

    def address(self, service: str) -> str:
        """Where a service listens, whatever becomes of its process."""
        return f"{HOST}:{getattr(self.ports, service)}"

    def kill(self, program: str) -> None:
        """End a program without goodbye; it is started again."""
        if program == POSTGRES and self.postgres is not None:
            self.postgres.kill()
            self.postgres.start()
            return
        try:
            os.kill(self.supervisor.pids()[program], signal.SIGKILL)
        except ProcessLookupError:  # the last kill has not been noticed yet
            return

    def client(self) -> Client:
        """Return a client of the services."""
        return Client(
            encoder=self.address("encoder"),
            search=self.address("search"),
            ingest=self.address("ingest"),
            timeout=timedelta(seconds=60),
        )


@asynccontextmanager
async def supervised_suite(
    home: Path, root: Path, postgres: PostgresServer | None = None
) -> AsyncIterator[SupervisedSuite]:
    """Hold a suite ready whose ingest may read `root`."""
    ports = Ports.from_base(Ports.free_base())
    options = SuiteOptions(ports=ports, data_dir=home / "data", roots=[root], models_dir=MODELS)
    logs = home / "logs"
    logs.mkdir(parents=True)
    chosen = list(programs(options))
    if postgres is not None:
        chosen = _two_workers(chosen, postgres.create_database())
    supervisor = Supervisor(chosen, log_dir=logs, report=_LOG.info, patience=_IMPATIENT)
    async with supervisor.running():
        yield SupervisedSuite(ports, supervisor, postgres)


def _two_workers(chosen: list[Program], database: str) -> list[Program]:
    """Let ingest keep its jobs in a database, and be there twice."""
    ingest = next(each for each in chosen if each.name == "ingest")
    port = free_port()
    one = {**ingest.environment, "LOOKALIKE_INGEST__DATABASE_URL": database}
    other = {
        **one,
        "LOOKALIKE_INGEST__ROLE": "worker",
        "LOOKALIKE_INGEST__SERVER__PORT": str(port),
        "LOOKALIKE_INGEST__SERVER__METRICS_PORT": str(free_port()),
    }
    return [
        *(each for each in chosen if each is not ingest),
        replace(ingest, environment=one),
        replace(ingest, name="worker", environment=other, probe=probes.grpc_health(port)),
    ]
