"""A job's report as one HTML file that needs nothing else, and that runs nothing.

What callers and files chose (keys, addresses, messages) is text in it, never markup.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from html import escape

from google.protobuf.timestamp_pb2 import Timestamp

from lookalike.ingest.v1 import job_pb2
from lookalike_client.cli.places import place_of
from lookalike_client.cli.session import state_word
from lookalike_client.errors import LookalikeError

MAX_SHOWN = 1000
"""Failures on the page; a CSV report has all of them."""
_MAX_PICTURES = 200

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
h1 { font-size: 1.4em; } table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid #ccc; padding: .4em .8em .4em 0; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
img { background: #eee; max-height: 160px; max-width: 160px; }
.bar { display: flex; height: 1.2em; margin: 1em 0; } .bar div { min-width: 2px; }
.created { background: #2a7; } .updated { background: #27a; } .unchanged { background: #999; }
.skipped { background: #ddd; } .failed { background: #c33; }
.key { border-radius: 2px; display: inline-block; height: .8em; width: .8em; }
small { color: #666; }
"""
_OUTCOMES = ("created", "updated", "unchanged", "skipped", "failed")


def page(
    job: job_pb2.Job,
    failures: Iterable[job_pb2.JobFailure],
    picture: Callable[[job_pb2.JobFailure], str],
) -> Iterator[str]:
    """Yield the page; `picture` gives the address of what to show for a failure, or nothing."""
    yield _head(job)
    yield _counts(job)
    yield _facts(job)
    if job.counts.failed:
        yield "<h2>What failed</h2>\n<table><tr><th><th>item<th>where<th>why</tr>\n"
        for number, failure in enumerate(failures):
            if number == MAX_SHOWN:
                yield f"<tr><td><td colspan=3>… {job.counts.failed - number:,} more</tr>\n"
                break
            yield _row(failure, picture(failure) if number < _MAX_PICTURES else "")
        yield "</table>\n"


def _head(job: job_pb2.Job) -> str:
    title = f"{escape(job.name)}: {escape(state_word(job_pb2.Job.State.Name(job.state)))}"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<h1>{title}</h1>\n"
    )


def _counts(job: job_pb2.Job) -> str:
    known = [(name, n) for name in _OUTCOMES if (n := getattr(job.counts, name))]
    bar = "".join(f'<div class={name} style="flex: {number}"></div>' for name, number in known)
    words = " &nbsp; ".join(
        f"<span class='key {name}'></span> {number:,} {name}" for name, number in known
    )
    return f"<div class=bar>{bar}</div>\n<p>{words or 'no items'}</p>\n"


def _facts(job: job_pb2.Job) -> str:
    error = LookalikeError.from_status(job.error).brief() if job.error.code else ""
    kinds = sorted(job.media_types.items(), key=lambda kind: -kind[1])
    facts = {
        "collection": job.collection,
        "source": source_in_words(job),
        "accepted": _moment(job.create_time),
        "ended": _moment(job.end_time) if job.HasField("end_time") else "",
        "state": job.state_reason,
        "error": error,
        "entities": f"{job.entities.written:,} written, {job.entities.removed:,} removed",
        "kinds": ", ".join(f"{number:,} {name}" for name, number in kinds),
        "retries": job.retry_of,
        "labels": ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items())),
        "warnings": "; ".join(job.warnings),
    }
    rows = [f"<tr><th>{name}<td>{escape(fact)}</tr>" for name, fact in facts.items() if fact]
    return "<table>" + "\n".join(rows) + "</table>\n"


def _row(failure: job_pb2.JobFailure, picture: str) -> str:
    image = f'<img alt="" src="{escape(picture)}">' if picture else ""
    error = LookalikeError.from_status(failure.error)
    where = "<br>".join(escape(part) for part in (failure.source_uri, place_of(failure)) if part)
    tries = f", {failure.attempts} tries" if failure.attempts > 1 else ""
    return (
        f"<tr><td>{image}<td>{escape(failure.item)}<td>{where}"
        f"<td>{escape(error.brief())}<br>"
        f"<small>{escape(error.reason)} in {escape(failure.step)}{tries}</small></tr>\n"
    )


def source_in_words(job: job_pb2.Job) -> str:
    """Where the items came from."""
    match job.WhichOneof("source"):
        case "files":
            return ", ".join(job.files.uris)
        case "table":
            return job.table.uri
        case "from_collection":
            return job.from_collection.collection
        case _:
            return "items in the request"


def _moment(timestamp: Timestamp) -> str:
    return f"{timestamp.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
