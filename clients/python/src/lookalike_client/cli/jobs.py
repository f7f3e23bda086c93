"""`lookalike jobs`: what is being ingested, what failed; stop and start it, report on it."""

import enum
from datetime import UTC
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table

from lookalike.ingest.v1 import job_pb2
from lookalike_client.cli.following import (
    counts,
    failures_table,
    follow,
    items_table,
    leave,
    show_end,
    stay,
)
from lookalike_client.cli.report import report
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    complaints,
    console,
    printable,
    session_of,
    show,
    state_word,
)

app = typer.Typer(
    help="Jobs: list, get, watch, pause, resume, retry, cancel, items, failures, report.",
    no_args_is_help=True,
)


class JobState(enum.StrEnum):
    """Where a job stands, as people write it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_FAILURES = "succeeded-with-failures"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def number(self) -> job_pb2.Job.State.ValueType:
        """Its number in the API."""
        return job_pb2.Job.State.Value(f"STATE_{self.name}")


class ItemOutcome(enum.StrEnum):
    """What became of an item, as people write it."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNSPECIFIED = "not-reached"

    @property
    def number(self) -> job_pb2.JobItem.Outcome.ValueType:
        """Its number in the API."""
        return job_pb2.JobItem.Outcome.Value(f"OUTCOME_{self.name}")


JobArgument = Annotated[str, typer.Argument(help="The job, by its name or id.")]


@app.command("list")
def list_(
    context: typer.Context,
    *,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Only on this.")] = "",
    state: Annotated[
        list[JobState] | None, typer.Option(help="Only in this state. Can be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Only with this label: `name=value`, or `name`.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the jobs, newest first."""
    states = [each.number for each in state or ()]
    with session_of(context).client() as client:
        found = list(client.jobs(collection=collection, states=states, labels=label or ()))
    show(found, output, lambda: _table(found))


@app.command()
@app.command("show", hidden=True)
def get(context: typer.Context, job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Show one job."""
    with session_of(context).client() as client:
        found = client.job(job)
    show(found, output, lambda: _table([found]))


@app.command()
def watch(context: typer.Context, job: JobArgument) -> None:
    """Follow a job until it ends."""
    with session_of(context).client() as client:
        raise typer.Exit(show_end(client, follow(client, client.job(job))))


@app.command()
def pause(context: typer.Context, job: JobArgument) -> None:
    """Stop a job until it is resumed; what it has under way is finished first."""
    with session_of(context).client() as client:
        _tell(client.pause_job(job))


@app.command()
def resume(context: typer.Context, job: JobArgument) -> None:
    """Let a paused job go on."""
    with session_of(context).client() as client:
        _tell(client.resume_job(job))


@app.command()
def retry(
    context: typer.Context,
    job: JobArgument,
    *,
    wait: Annotated[bool, typer.Option(help="Stay until the new job ends.")] = True,
) -> None:
    """Start a new job with the items of a final one that failed or were not reached."""
    with session_of(context).client() as client:
        again = client.retry_job(job)
        raise typer.Exit(stay(client, again) if wait else leave(again))


@app.command()
def cancel(context: typer.Context, job: JobArgument) -> None:
    """Stop a job for good; what it wrote stays."""
    with session_of(context).client() as client:
        _tell(client.cancel_job(job))


@app.command()
def failures(context: typer.Context, job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """List the items of a job that failed, and why."""
    with session_of(context).client() as client:
        found = list(client.job_failures(job))
    show(found, output, lambda: failures_table(found))


@app.command()
def items(
    context: typer.Context,
    job: JobArgument,
    *,
    outcome: Annotated[
        list[ItemOutcome] | None, typer.Option(help="Only with this outcome. Can be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the items of a job, and what became of each. All of them as CSV: see report."""
    outcomes = [each.number for each in outcome or ()]
    with session_of(context).client() as client:
        wanted = client.job_items(job, outcomes=outcomes)
        found = list(islice(wanted, limit or None))
        more = next(wanted, None) is not None
    show(found, output, lambda: items_table(found))
    if more:
        complaints.print(f"… and more; --limit 0 shows all, `lookalike jobs report {job}` as CSV")


app.command("report")(report)


def _tell(job: job_pb2.Job) -> None:
    console.print(f"{job.name} is {state_word(job_pb2.Job.State.Name(job.state))}")


def _table(jobs: list[job_pb2.Job]) -> Table:
    table = Table()
    table.add_column("job", no_wrap=True)
    for heading in ("created", "collection", "how it stands"):
        table.add_column(heading)
    for job in jobs:
        table.add_row(
            job.name.removeprefix("jobs/"),
            f"{job.create_time.ToDatetime(UTC).astimezone():%m-%d %H:%M}",
            job.collection.removeprefix("collections/"),
            f"{state_word(job_pb2.Job.State.Name(job.state))}: {_reason(job)}{counts(job)}",
        )
    return table


def _reason(job: job_pb2.Job) -> str:
    return f"{printable(job.state_reason)}: " if job.state_reason else ""
