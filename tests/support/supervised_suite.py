"""The suite's five programs, supervised as `lookalike up` does, but back at once when killed."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from lookalike_client import Client
from lookalike_client.suite.ports import HOST, Ports
from lookalike_client.suite.programs import SuiteOptions, programs
from lookalike_client.suite.supervisor import Patience, Supervisor
from tests.support.suite import MODELS

log = logging.getLogger(__name__)
_IMPATIENT = Patience(
    first_restart=timedelta(milliseconds=50),
    longest_restart=timedelta(milliseconds=50),
    ready=timedelta(minutes=3),
)


@dataclass(frozen=True)
class SupervisedSuite:
    """Running programs, each of which can be killed."""

    ports: Ports
    supervisor: Supervisor

    def address(self, service: str) -> str:
        """Where a service listens, whatever becomes of its process."""
        return f"{HOST}:{getattr(self.ports, service)}"

    def kill(self, program: str) -> None:
        """End a program without goodbye; it is started again."""
        with_pid = self.supervisor.pids()
        try:
            os.kill(with_pid[program], signal.SIGKILL)
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
    home: Path, root: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[SupervisedSuite]:
    """Hold a suite ready whose ingest may read `root`; `settings` are for all its programs."""
    ports = Ports.from_base(Ports.free_base())
    options = SuiteOptions(ports=ports, data_dir=home / "data", roots=[root], models_dir=MODELS)
    logs = home / "logs"
    logs.mkdir(parents=True)
    chosen = [
        replace(each, environment={**each.environment, **(settings or {})})
        for each in programs(options)
    ]
    supervisor = Supervisor(chosen, log_dir=logs, report=log.info, patience=_IMPATIENT)
    async with supervisor.running():
        yield SupervisedSuite(ports, supervisor)
