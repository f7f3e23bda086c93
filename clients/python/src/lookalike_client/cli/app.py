"""The root of the command: options that all commands share, and the table of commands."""

import importlib.metadata
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from lookalike_client.cli import (
    aliases,
    collections,
    doctor,
    encode,
    encoders,
    entities,
    ingest,
    jobs,
    models,
    recommend,
    search,
    up,
)
from lookalike_client.cli.exits import CommandError, explain
from lookalike_client.cli.session import Session, complaints, console
from lookalike_client.errors import LookalikeError

app = typer.Typer(
    name="lookalike",
    help="Find similar things: run the services, fill collections, search.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 some items failed, "
    "4 a service cannot be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("ingest")(ingest.ingest)
app.command("search")(search.search)
app.command("recommend")(recommend.recommend)
app.command("classify")(recommend.classify)
app.command("encode")(encode.encode)
app.add_typer(encoders.app, name="encoders")
app.add_typer(collections.app, name="collections")
app.add_typer(aliases.app, name="aliases")
app.add_typer(entities.app, name="entities")
app.add_typer(jobs.app, name="jobs")
app.command("models", context_settings=models.PASS_EVERYTHING)(models.models)
app.command("doctor")(doctor.doctor)


@app.callback()
def root(
    context: typer.Context,
    *,
    encoder: Annotated[
        str, typer.Option(envvar="LOOKALIKE_ENCODER_ADDRESS", help="Where the encoder listens.")
    ] = "127.0.0.1:50051",
    search_address: Annotated[
        str,
        typer.Option("--search", envvar="LOOKALIKE_SEARCH_ADDRESS", help="Where search listens."),
    ] = "127.0.0.1:50052",
    ingest_address: Annotated[
        str,
        typer.Option("--ingest", envvar="LOOKALIKE_INGEST_ADDRESS", help="Where ingest listens."),
    ] = "127.0.0.1:50053",
    gateway: Annotated[
        str, typer.Option(envvar="LOOKALIKE_GATEWAY_ADDRESS", help="Where the gateway listens.")
    ] = "127.0.0.1:8080",
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="LOOKALIKE_TOKEN_FILE", exists=True, help="File with the token to call with."
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="LOOKALIKE_CA_FILE", exists=True, help="Use TLS, trusting this PEM file."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 30.0,
) -> None:
    """Find similar things: run the services, fill collections, search."""
    context.obj = Session(
        encoder=encoder,
        search=search_address,
        ingest=ingest_address,
        gateway=gateway,
        token_file=token_file,
        ca_file=ca_file,
        timeout=timedelta(seconds=timeout),
    )


@app.command()
def version() -> None:
    """Print the version of this command."""
    console.print(importlib.metadata.version("lookalike"))


def main() -> None:
    """Run the command; end with one of the documented exit codes."""
    try:
        app()
    except CommandError as error:
        message, code = str(error), error.code
    except LookalikeError as error:
        message, code = explain(error)
    else:
        return
    complaints.print(f"lookalike: {message}", soft_wrap=True)
    sys.exit(code)
