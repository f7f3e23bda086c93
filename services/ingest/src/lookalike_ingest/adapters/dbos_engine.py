"""The durable engine on DBOS: a library over a database, with no server of its own.

What is set by hand, and why: the serializer (the default is pickle), the application version (the
default is a hash of the source, so that an update would strand old tasks), the log level (it
advertises a console, and warns thirty times a second of a database that is away: the job store
does that), the polling interval (a second by default), no limit of recoveries (a task
over the limit would be stuck for ever; attempts are counted in the job store). DBOS is a
singleton, runs tasks on the event loop that launched it, and replaces that loop's default thread
pool by its own; `stop` gives the loop a fresh one.

On PostgreSQL many processes share the queues. DBOS lets exactly one of them begin a task and keeps
what only its owner says, but brings nobody's tasks back except those of its own executor id, at its
launch. As every process has an id of its own there, `takeover.py` does it for all.
"""

import asyncio
import contextvars
import importlib.util
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetEnqueueOptions,
    SetWorkflowID,
    StepOptions,
)

from lookalike_common.errors import BackendUnavailableError
from lookalike_ingest.adapters.sql_engine import is_postgres, make_engine
from lookalike_ingest.tasks.engine import Task, Work
from lookalike_ingest.tasks.takeover import Claim

_APPLICATION = "lookalike-ingest"
_VERSION = "1"
_THREADS = 16
_LISTENER_SECONDS = 0.2  # nothing is listened for; stopping waits for one round of it
_SQLITE_FOR_NEW_PYTHON = (3, 42)
_MAX_PRIORITY = 2**31 - 1
_CONNECTIONS = 8
_SUBMIT_SECONDS = 10  # DBOS itself would wait for its database for ever


class DbosEngine:
    """A `JobEngine`; one at a time in a process."""

    def __init__(
        self, database_url: str, *, polling_interval: timedelta, executor_id: str = "local"
    ) -> None:
        self._database_url = database_url
        self._polling_interval = polling_interval
        self._executor_id = executor_id
        self._engine: sa.Engine | None = None
        self._kinds: Mapping[str, Work] = {}
        self._running: dict[asyncio.Task[Any], str] = {}
        self._run_task = DBOS.workflow(name="run_task", max_recovery_attempts=None)(
            self._workflow()
        )

    async def start(self, kinds: Mapping[str, Work]) -> None:
        """Launch DBOS on this loop: at start nothing is served yet, so it may block it.

        Without any kind it only submits.
        """
        self._kinds = kinds
        _quieten_logging()
        DBOS(config=self._config())
        DBOS.listen_queues(list(kinds))
        DBOS.launch()
        for kind, work in kinds.items():
            await DBOS.register_queue_async(
                kind,
                worker_concurrency=work.concurrency,
                polling_interval_sec=self._polling_interval.total_seconds(),
                on_conflict="always_update",
            )

    async def submit(self, task: Task) -> None:
        """Put a task into its queue; a task that is known already stays as it is.

        In an empty context: DBOS lets no step start a workflow, and tasks are nobody's children.
        Raises BackendUnavailableError.
        """
        enqueuing = asyncio.create_task(self._enqueue(task), context=contextvars.Context())
        try:
            async with asyncio.timeout(_SUBMIT_SECONDS):
                await enqueuing
        except TimeoutError as error:
            raise BackendUnavailableError("the engine's database cannot be reached") from error

    async def cancel(self, job: str) -> None:
        """Cancel what waits in the queues. What runs is left to see that its job is final."""
        waiting = await DBOS.list_workflows_async(
            workflow_id_prefix=f"{job}:", status="ENQUEUED", load_input=False, load_output=False
        )
        if waiting:
            await DBOS.cancel_workflows_async([each.workflow_id for each in waiting])

    async def forget(self, job: str) -> None:
        """Delete the job's workflows."""
        known = await DBOS.list_workflows_async(
            workflow_id_prefix=f"{job}:", load_input=False, load_output=False
        )
        if known:
            await DBOS.delete_workflows_async([each.workflow_id for each in known])

    async def list_claims(self) -> Sequence[Claim]:
        """Return all tasks that some executor has begun and not finished."""
        begun = await DBOS.list_workflows_async(
            status="PENDING", load_input=False, load_output=False
        )
        here = set(self._running.values())
        return [
            Claim(
                each.workflow_id,
                each.queue_name or "",
                each.executor_id or "",
                mislaid=each.executor_id == self._executor_id and each.workflow_id not in here,
            )
            for each in begun
        ]

    async def take_over(self, executor: str) -> None:
        """Put an executor's tasks back into their queues, except those that others have by now."""
        recover = DBOS._recover_pending_workflows  # noqa: SLF001 - all else takes from the living
        await asyncio.to_thread(recover, [executor])

    async def begin_again(self, claims: Sequence[Claim]) -> None:
        """Put some tasks of this process back into their queues."""
        for claim in claims:
            await DBOS.resume_workflow_async(claim.key, queue_name=claim.kind)

    async def stop(self) -> None:
        """Interrupt what runs, which leaves it pending in the database, and shut DBOS down."""
        logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of every interrupted task
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with ThreadPoolExecutor(1) as executor:  # DBOS.destroy joins threads that need this loop
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(executor, lambda: DBOS.destroy(destroy_registry=True))
        if self._engine is not None:
            # A straggler of DBOS gives its connection back later, to a pool that nobody closes.
            sa.event.listen(self._engine, "checkin", _close_connection)
            self._engine.dispose()
        loop.set_default_executor(ThreadPoolExecutor())

    async def _enqueue(self, task: Task) -> None:
        priority = min(task.turn, _MAX_PRIORITY)
        with SetWorkflowID(task.key), SetEnqueueOptions(priority=priority):
            await DBOS.enqueue_workflow_async(
                task.kind,
                self._run_task,
                task.kind,
                task.job,
                [task.first, task.last, task.round, task.turn],
            )

    def _workflow(self) -> Callable[[str, str, list[int]], Coroutine[Any, Any, None]]:
        async def run_task(kind: str, job: str, numbers: list[int]) -> None:
            task = Task(kind, job, *numbers)
            current = asyncio.current_task()
            if current is not None:
                self._running[current] = task.key
                current.add_done_callback(self._running.pop)
            await self._kinds[kind].handler(task, _DbosSteps())

        return run_task

    def _config(self) -> DBOSConfig:
        config = DBOSConfig(
            name=_APPLICATION,
            system_database_url=self._database_url,
            application_version=_VERSION,
            executor_id=self._executor_id,
            serializer=DBOSPortableJSONSerializer(),
            log_level="ERROR",
            max_executor_threads=_THREADS,
            notification_listener_polling_interval_sec=_LISTENER_SECONDS,
        )
        if is_postgres(self._database_url):
            self._engine = make_engine(self._database_url, _CONNECTIONS)
            config["system_database_engine"] = self._engine  # made by DBOS, it would not be tuned
            config["use_listen_notify"] = False
        else:
            config["db_engine_kwargs"] = _sqlite_arguments()
            _set_wal(Path(self._database_url.removeprefix("sqlite:///")))
        return config


class _DbosSteps:
    """The `Steps` of the workflow that runs."""

    async def run(self, name: str, step: Callable[[], Awaitable[int]]) -> int:
        async def call() -> int:
            return await step()

        return await DBOS.run_step_async(StepOptions(name=name), call)


def _close_connection(_connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
    record.invalidate()


def _quieten_logging() -> None:
    """Let our log configuration decide: DBOS adds a handler of its own only if there is none."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _sqlite_arguments() -> dict[str, Any]:
    """Take the SQLite that comes with pysqlite3 where the system's is too old for DBOS.

    That matters on Python 3.12 and later only, and only there is pysqlite3 a dependency.
    """
    old = sqlite3.sqlite_version_info[:2] < _SQLITE_FOR_NEW_PYTHON
    if not old or importlib.util.find_spec("pysqlite3") is None:
        return {}
    return {"module": importlib.import_module("pysqlite3.dbapi2")}


def _set_wal(file: Path) -> None:
    """Write-ahead logging is kept in the file, and makes DBOS half as fast again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA journal_mode=wal")
    finally:
        connection.close()
