"""`lookalike jobs report`: what became of a job, for people, spreadsheets and browsers."""

import csv
import enum
import sys
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console

from lookalike.ingest.v1 import job_pb2
from lookalike_client.cli.exits import CommandError
from lookalike_client.cli.following import failures_table, notes, outcome_word, summary
from lookalike_client.cli.places import segment_in_words
from lookalike_client.cli.report_page import page
from lookalike_client.cli.session import complaints, session_of
from lookalike_client.cli.thumbnails import thumbnail_of
from lookalike_client.client import Client
from lookalike_client.errors import LookalikeError

_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_WITHOUT_FAILED = tuple(
    value for name, value in job_pb2.JobItem.Outcome.items() if name != "OUTCOME_FAILED"
)
_COLUMNS = (
    *("outcome", "item", "source_uri", "media_type", "asset", "entities", "attempts"),
    *("line", "place", "step", "reason", "message"),
)


class Format(enum.StrEnum):
    """What a report is."""

    TABLE = "table"
    CSV = "csv"
    HTML = "html"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="By default what --to ends in, or a table.", show_default=False),
]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="Write it there.", show_default=False),
]


def report(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="The job, by its name or id.")],
    format_: FormatOption = None,
    to: ToOption = None,
) -> None:
    """Tell what became of a job and of each item: a table, CSV, or a page with pictures."""
    session = session_of(context)
    here = session.ingest.startswith(_LOOPBACK)
    with session.client() as client:
        found = client.job(job)
        with _opened(to) as target:
            match format_ or _by_name(to):
                case Format.TABLE:
                    _write_table(client, found, target)
                case Format.CSV:
                    _write_csv(client, found, target)
                case Format.HTML:
                    _write_page(client, found, target, here=here)
    if to is not None:
        complaints.print(f"wrote {to}", soft_wrap=True)


def _by_name(to: Path | None) -> Format:
    endings = {".csv": Format.CSV, ".html": Format.HTML, ".htm": Format.HTML}
    return endings.get(to.suffix.lower(), Format.TABLE) if to else Format.TABLE


def _write_table(client: Client, job: job_pb2.Job, target: TextIO) -> None:
    plain = Console(file=target, highlight=False, markup=False, emoji=False)
    plain.print(summary(job), soft_wrap=True)
    for line in notes(job):
        plain.print(line, soft_wrap=True)
    if job.counts.failed:
        plain.print(failures_table(list(client.job_failures(job.name))))


def _write_page(client: Client, job: job_pb2.Job, target: TextIO, *, here: bool) -> None:
    def picture(failure: job_pb2.JobFailure) -> str:
        return thumbnail_of(client, failure, here=here)

    target.writelines(page(job, client.job_failures(job.name), picture))


def _write_csv(client: Client, job: job_pb2.Job, target: TextIO) -> None:
    rows = csv.DictWriter(target, _COLUMNS, restval="")
    rows.writeheader()
    others = client.job_items(job.name, outcomes=_WITHOUT_FAILED)
    for row in chain(map(_item, others), map(_failure, client.job_failures(job.name))):
        rows.writerow({name: _cell(value) for name, value in row.items()})


def _item(item: job_pb2.JobItem) -> dict[str, str]:
    return {
        "outcome": outcome_word(item),
        "item": item.item,
        "source_uri": item.source_uri,
        "media_type": item.media_type,
        "asset": item.asset,
        "entities": str(item.entities),
        "attempts": str(item.attempts),
        "line": str(item.line or ""),
    }


def _failure(failure: job_pb2.JobFailure) -> dict[str, str]:
    error = LookalikeError.from_status(failure.error)
    return {
        "outcome": "failed",
        "item": failure.item,
        "source_uri": failure.source_uri,
        "asset": failure.asset,
        "attempts": str(failure.attempts),
        "line": str(failure.line or ""),
        "place": segment_in_words(failure.segment),
        "step": failure.step,
        "reason": error.reason,
        "message": error.brief(),
    }


def _cell(text: str) -> str:
    """The text as a spreadsheet may get it: what it would take for a formula is quoted."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _opened(to: Path | None) -> AbstractContextManager[TextIO]:
    if to is None:
        return nullcontext(sys.stdout)
    try:
        return to.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(f"cannot write {to}: {error.strerror}") from error
