"""`lookalike jobs`: what is being ingested, what failed; watch, cancel, report."""

from datetime import UTC
from typing import Annotated

import typer
from rich.table import Table

from lookalike.ingest.v1 import job_pb2
from lookalike_client.cli.following import counts, failures_table, follow, show_end
from lookalike_client.cli.report import report
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    console,
    session_of,
    show,
    state_word,
)

app = typer.Typer(help="Jobs: list, get, watch, cancel, failures, report.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(help="The job, by its name or id.")]


@app.command("list")
def list_(
    context: typer.Context,
    collection: Annotated[str, typer.Option("--collection", "-c", help="Only on this.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the jobs, newest first."""
    with session_of(context).client() as client:
        found = list(client.jobs(collection=collection))
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
def cancel(context: typer.Context, job: JobArgument) -> None:
    """Stop a job for good; what it wrote stays."""
    with session_of(context).client() as client:
        stopped = client.cancel_job(job)
    console.print(f"{stopped.name} is {state_word(job_pb2.Job.State.Name(stopped.state))}")


@app.command()
def failures(context: typer.Context, job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """List the items of a job that failed, and why."""
    with session_of(context).client() as client:
        found = list(client.job_failures(job))
    show(found, output, lambda: failures_table(found))


app.command("report")(report)


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
            f"{state_word(job_pb2.Job.State.Name(job.state))}: {counts(job)}",
        )
    return table
