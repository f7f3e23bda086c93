"""`python -m lookalike_client.demo`: photos in, edited copies found, all on this machine.

Ends with 0 when nearly all flipped and strongly compressed copies found their originals first.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lookalike.ingest.v1 import job_pb2
from lookalike_client._names import collection_name
from lookalike_client.cli.exits import CommandError, ExitCode, explain
from lookalike_client.cli.following import follow, show_end
from lookalike_client.cli.ingest import ensure_collection, start
from lookalike_client.cli.models import require
from lookalike_client.cli.session import complaints, console
from lookalike_client.cli.sources import PICTURES, sources_of
from lookalike_client.client import Client
from lookalike_client.demo import photos, report, suite, trial
from lookalike_client.demo.edits import MUST_BE_FOUND
from lookalike_client.errors import LookalikeError
from lookalike_client.suite.ports import HOST, Ports

COLLECTION = "demo-photos"
TARGET = 0.95
"""How often the original must come first for the edits that must be found."""

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def demo(
    *,
    home: Annotated[Path, typer.Option(help="Where photos, models and data are kept.")] = Path(
        ".lookalike"
    ),
    sheet: Annotated[Path, typer.Option(help="Where the contact sheet goes.")] = Path(
        "demo/contact-sheet.png"
    ),
    sample: Annotated[int, typer.Option(min=1, help="How many photos to edit.")] = 200,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave the suite running until Ctrl-C.")
    ] = False,
) -> None:
    """Ingest real photos, search with edited copies of them, and show what was found."""
    home = home.resolve()
    clock = _Clock()
    found = photos.fetch(home / "demo-data", _say)
    clock.lap(f"{len(found.paths())} photos: {found.origin}")
    models = Path(os.environ.get("LOOKALIKE_ENCODER__MODELS_DIR", home / "models")).resolve()
    _install_models(models)
    clock.lap(f"models in {report.shown(models)}")
    with (
        suite.running(home / "demo", found.folder, models) as running,
        _client(running.ports) as client,
    ):
        clock.lap("the suite runs")
        _ingest(client, found)
        clock.lap("ingested")
        results = trial.run(client, COLLECTION, found, sample=sample)
        clock.lap(f"{sum(len(r.queries) for r in results)} searches")
        _show(results, found, sheet)
        example = report.write_example(found, sheet.parent)
        if keep_running:
            _print_commands(
                "try, in another terminal:", report.next_steps(running.ports, COLLECTION, example)
            )
            _wait_for_interrupt()
    if missed := [r for r in results if r.edit in MUST_BE_FOUND and r.share_first < TARGET]:
        shares = ", ".join(f"{r.edit} {r.share_first:.1%}" for r in missed)
        raise CommandError(f"the original came first too rarely: {shares}, of {TARGET:.0%}")
    clock.lap("done")
    if not keep_running:
        setting = f"LOOKALIKE_ENCODER__MODELS_DIR={report.shown(models)}"
        again = f"{setting} {report.command()} up --data-dir {report.shown(home / 'demo')}"
        steps = report.next_steps(Ports(), COLLECTION, example)
        _print_commands("to try more, start the suite again, then:", [again, *steps])


def _say(line: str) -> None:
    console.print(f"  {line}", soft_wrap=True)


class _Clock:
    """Says what was done and how long it took."""

    def __init__(self) -> None:
        self._begun = self._lap = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        took, total = now - self._lap, now - self._begun
        self._lap = now
        times = f" ({took:.1f} s, {total:.1f} s in all)"
        console.print(Text.assemble((what, "bold"), times), soft_wrap=True)


def _install_models(folder: Path) -> None:
    require("lookalike_encoder")
    command = [sys.executable, "-m", "lookalike_encoder", "models", "install"]
    environment = {**os.environ, "LOOKALIKE_ENCODER__MODELS_DIR": str(folder)}
    if subprocess.run(command, env=environment, check=False).returncode:  # noqa: S603 - our own program
        raise CommandError("the models cannot be installed; see above")


def _client(ports: Ports) -> Client:
    return Client(
        encoder=f"{HOST}:{ports.encoder}",
        search=f"{HOST}:{ports.search}",
        ingest=f"{HOST}:{ports.ingest}",
    )


def _ingest(client: Client, found: photos.PhotoSet) -> None:
    order = job_pb2.Job(collection=collection_name(COLLECTION))
    ensure_collection(client, order, [PICTURES])
    job = follow(client, start(client, order, sources_of([str(found.folder)])))
    if show_end(client, job) not in {ExitCode.DONE, ExitCode.SOME_FAILED}:
        raise CommandError("the photos could not be ingested")


def _show(results: list[trial.Result], found: photos.PhotoSet, sheet: Path) -> None:
    console.print(report.results_table(results))
    console.print(report.examples_table(results))
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_bytes(report.draw_sheet(results, found))
    console.print(f"contact sheet: {sheet}", soft_wrap=True)


def _print_commands(heading: str, commands: Sequence[str]) -> None:
    console.print(heading)
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)


def _wait_for_interrupt() -> None:
    console.print("the suite keeps running until Ctrl-C")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping")


def main() -> None:
    """Run the demonstration; end with one of the command's exit codes."""
    try:
        app()
    except (CommandError, photos.NoPhotosError, suite.SuiteError) as error:
        complaints.print(f"demo: {error}", soft_wrap=True)
        sys.exit(ExitCode.REFUSED)
    except LookalikeError as error:
        message, code = explain(error)
        complaints.print(f"demo: {message}", soft_wrap=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
