"""`lookalike encoders`: which encoders a server has, and loading them while it runs."""

from typing import Annotated

import typer
from rich.table import Table

from lookalike.encoder.v1 import encoder_pb2
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    console,
    printable,
    session_of,
    show,
    state_word,
)

app = typer.Typer(help="Encoders: list, get, load, unload, reload.", no_args_is_help=True)

Encoder = Annotated[str, typer.Argument(help="The encoder, with or without its @version.")]


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the encoders of a server."""
    with session_of(context).client() as client:
        found = list(client.encoders())
    show(found, output, lambda: _table(found))


@app.command()
def get(context: typer.Context, encoder: Encoder, output: OutputOption = Output.JSON) -> None:
    """Show one encoder, with its limits and its fingerprint."""
    with session_of(context).client() as client:
        found = client.encoder(encoder)
    show(found, output, lambda: _table([found]))


@app.command()
def load(context: typer.Context, encoder: Encoder) -> None:
    """Load an installed encoder into a running server."""
    with session_of(context).client() as client:
        _tell(client.load_encoder(encoder))


@app.command()
def unload(context: typer.Context, encoder: Encoder) -> None:
    """Take an encoder out of a server's memory."""
    with session_of(context).client() as client:
        _tell(client.unload_encoder(encoder))


@app.command()
def reload(context: typer.Context, encoder: Encoder) -> None:
    """Load an encoder anew; the old one serves until the new one is ready."""
    with session_of(context).client() as client:
        _tell(client.reload_encoder(encoder))


def _tell(encoder: encoder_pb2.Encoder) -> None:
    console.print(f"{encoder.name} is {_state(encoder)}")


def _state(encoder: encoder_pb2.Encoder) -> str:
    return state_word(encoder_pb2.Encoder.State.Name(encoder.state))


def _table(encoders: list[encoder_pb2.Encoder]) -> Table:
    table = Table()
    for heading in ("encoder", "takes", "vector", "state", "on", "description"):
        table.add_column(heading, overflow="fold")
    for each in encoders:
        modalities = [content_pb2.Modality.Name(kind) for kind in each.modalities]
        takes = ", ".join(name.removeprefix("MODALITY_").lower() for name in modalities)
        metric = vector_pb2.Metric.Name(each.metric).removeprefix("METRIC_").lower()
        table.add_row(
            each.name.removeprefix("encoders/"),
            takes,
            f"{each.dimensions}, {metric}" if each.dimensions else "",
            _state(each),
            each.device,
            printable(each.error.message or each.description),
        )
    return table
