"""Shows a job while it runs, and how it ended."""

from collections.abc import Iterator, Sequence
from itertools import islice

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from lookalike.ingest.v1 import job_pb2
from lookalike_client.cli.exits import ExitCode
from lookalike_client.cli.places import place_of
from lookalike_client.cli.session import complaints, console, printable, state_word
from lookalike_client.client import Client

_FAILURES_SHOWN = 10
_BUSY = 0.05
"""Threads that a step keeps busy on average, from which on it is shown."""
_OUTCOMES = ("created", "updated", "unchanged", "skipped", "failed")
_MINUTE, _HOUR = 60, 3600

_EXITS = {
    job_pb2.Job.STATE_SUCCEEDED: ExitCode.DONE,
    job_pb2.Job.STATE_SUCCEEDED_WITH_FAILURES: ExitCode.SOME_FAILED,
}


def follow(client: Client, job: job_pb2.Job) -> job_pb2.Job:
    """Show a live progress bar until the job is final; return it as it ended."""
    with _progress() as progress:
        name = job.collection.removeprefix("collections/")
        bar = progress.add_task(name, total=None, of="?", rate="", state="")
        _show(progress, bar, job)
        for moved in client.watch_job(job.name):
            job = moved
            _show(progress, bar, job)
    return job


def stay(client: Client, job: job_pb2.Job) -> ExitCode:
    """Follow a job and tell how it ended; the exit code for that."""
    try:
        return show_end(client, follow(client, job))
    except KeyboardInterrupt:
        complaints.print(f"the job goes on: lookalike jobs watch {job.name}")
        raise


def leave(job: job_pb2.Job) -> ExitCode:
    """Print the name of a job that goes on by itself."""
    console.print(job.name)
    return ExitCode.DONE


def show_end(client: Client, job: job_pb2.Job) -> ExitCode:
    """Print one line about a final job, and its first failures; return the exit code for it."""
    console.print(summary(job), soft_wrap=True)
    for line in notes(job):
        console.print(line, soft_wrap=True)
    if job.counts.skipped:
        console.print("skipped: what the collection takes no kind of, or what was not reached")
    if job.counts.failed:
        first = list(islice(client.job_failures(job.name), _FAILURES_SHOWN))
        console.print(failures_table(first))
        if job.counts.failed > len(first):
            console.print(f"… all of them: lookalike jobs failures {job.name}")
    return _EXITS.get(job.state, ExitCode.REFUSED)


def summary(job: job_pb2.Job) -> str:
    """One line about a job: its state, time and counts."""
    state = state_word(job_pb2.Job.State.Name(job.state))
    seconds = (job.end_time.ToDatetime() - job.create_time.ToDatetime()).total_seconds()
    because = f" ({job.error.message})" if job.error.message else ""
    dry = ", a dry run," if job.options.dry_run else ""
    removed = job.entities.removed if job.options.sync else 0
    gone = f"; removed {removed:,}" if removed else ""
    return f"{job.name}{dry} {state}{because} in {seconds:.1f} s: {counts(job)}{gone}"


def notes(job: job_pb2.Job) -> Iterator[str]:
    """What its owner should know about a job: warnings, and what a dry run found out."""
    for warning in job.warnings:
        yield f"note: {printable(warning)}"
    if not job.options.dry_run:
        return
    kinds = sorted(job.media_types.items(), key=lambda kind: -kind[1])
    if kinds:
        yield f"found: {', '.join(f'{number:,} {printable(name)}' for name, number in kinds)}"
    if job.HasField("estimate"):
        size = f"{job.estimate.stored_bytes / 1e6:,.1f} MB"
        yield f"would take: {_span(job.estimate.time.seconds)}, {size} where it is stored"


def counts(job: job_pb2.Job) -> str:
    """What became of the items, without what is 0."""
    known = [f"{n:,} {kind}" for kind in _OUTCOMES if (n := getattr(job.counts, kind))]
    return ", ".join(known) or "no items"


def failures_table(failures: Sequence[job_pb2.JobFailure]) -> Table:
    """Items that failed, and why."""
    places = [place_of(failure) for failure in failures]
    table = Table("item", *(["where"] if any(places) else []), "step", "why")
    for failure, place in zip(failures, places, strict=True):
        item = printable(failure.item or failure.source_uri)
        where = [printable(place)] if any(places) else []
        table.add_row(item, *where, failure.step, printable(failure.error.message))
    return table


def items_table(items: Sequence[job_pb2.JobItem]) -> Table:
    """Items, and what became of each; columns in which all would be empty are left out."""
    columns: dict[str, list[str]] = {
        "item": [printable(each.item or each.source_uri) for each in items],
        "line": [f"{each.line:,}" if each.line else "" for each in items],
        "what it is": [printable(each.media_type) for each in items],
        "outcome": [outcome_word(each) for each in items],
        "entities": [f"{each.entities:,}" if each.entities else "" for each in items],
        "tries": [str(each.attempts) if each.attempts > 1 else "" for each in items],
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cells)}
    table = Table()
    for heading in shown:
        numbers = heading in {"line", "entities", "tries"}
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def outcome_word(item: job_pb2.JobItem) -> str:
    """What became of an item: `created`, or `not reached`."""
    if not item.outcome:
        return "not reached"
    return job_pb2.JobItem.Outcome.Name(item.outcome).removeprefix("OUTCOME_").lower()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.fields[of]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        console=console,
    )


def _show(progress: Progress, bar: TaskID, job: job_pb2.Job) -> None:
    done = job.counts
    total = done.total if done.HasField("total") else None
    progress.update(
        bar,
        total=total,
        completed=done.created + done.updated + done.unchanged + done.skipped + done.failed,
        of="?" if total is None else f"{total:,}",
        rate=_rate(job.progress),
        state=standing(job),
    )


def standing(job: job_pb2.Job) -> str:
    """What a running job is about: why it waits, or its counts and what holds it up."""
    about = printable(job.state_reason)
    if job.state == job_pb2.Job.STATE_PAUSED:
        about = "paused"
    elif not about and job.progress.bottleneck:
        about = load(job.progress)
    known = any(getattr(job.counts, kind) for kind in _OUTCOMES)
    return "; ".join(part for part in (counts(job) if known or not about else "", about) if part)


def load(progress: job_pb2.Progress) -> str:
    """How busy the steps are, busiest first, with the one that holds up the others marked."""
    busy = sorted(progress.step_load.items(), key=lambda step: -step[1])
    steps = [f"{name} {threads:.1f}" for name, threads in busy if threads >= _BUSY]
    return " ".join([f"[{progress.bottleneck}]", *steps])


def _rate(progress: job_pb2.Progress) -> str:
    rate = f"{progress.items_per_second:,.1f}/s" if progress.items_per_second else ""
    eta = f"{_span(progress.eta.seconds)} to go" if progress.HasField("eta") else ""
    return ", ".join(part for part in (rate, eta) if part)


def _span(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
