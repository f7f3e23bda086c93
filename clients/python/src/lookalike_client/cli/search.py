"""`lookalike search`: shows what is similar to an image, or to words."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lookalike.search.v1 import search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.session import (
    CollectionOption,
    Output,
    OutputOption,
    complaints,
    printable,
    session_of,
    show,
)


def search(
    context: typer.Context,
    *,
    image: Annotated[
        Path | None, typer.Argument(help="An image file to search with.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Words to search with, instead of an image.")
    ] = None,
    collection: CollectionOption = "photos",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many hits at most.")] = 10,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out hits with a lower score.")
    ] = None,
    filter_: Annotated[
        str, typer.Option("--filter", help='Such as: item = "a.png" AND year >= 2020.')
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Find what is similar to an image, or to words."""
    content = _content(image, text)
    with session_of(context).client() as client:
        reply = client.search_content(
            collection, content, top_k=top_k, min_score=min_score, filter_=filter_
        )
    if output is Output.TABLE and not reply.hits:
        complaints.print(_nothing(reply))
    else:
        show(reply, output, lambda: hits_table(reply))


def _content(image: Path | None, text: str | None) -> content_pb2.Content:
    if (image is None) == (text is None):
        raise CommandError("give either an image file or --text", ExitCode.USAGE)
    if text is not None:
        return content_pb2.Content(text=text)
    if image is None or not image.exists():
        raise CommandError(f"no such file: {image}", ExitCode.USAGE)
    if not image.is_file():
        raise CommandError(f"{image} is no file - search with one image", ExitCode.USAGE)
    data = image.read_bytes()
    if not data:
        raise CommandError(f"{image} is empty", ExitCode.USAGE)
    return content_pb2.Content(image=data)


def hits_table(reply: search_service_pb2.SearchResponse) -> Table:
    """The hits, best first."""
    table = Table()
    for heading in ("rank", "score", "distance"):
        table.add_column(heading, justify="right")
    table.add_column("item", overflow="fold")
    table.add_column("attributes", overflow="fold")
    for hit in reply.hits:
        table.add_row(
            str(hit.rank),
            f"{hit.score:.4f}",
            f"{hit.distance:.4f}" if hit.HasField("distance") else "",
            printable(hit.entity.item or hit.entity.name.rpartition("/")[2]),
            printable(", ".join(f"{k}={value}" for k, value in hit.entity.attributes.items())),
        )
    return table


def _nothing(reply: search_service_pb2.SearchResponse) -> str:
    if reply.abstained:
        return f"nothing is similar enough; the best score was {reply.best_score:.4f}"
    return "nothing found"
