"""`lookalike aliases`: other names for collections, which move in one step."""

from typing import Annotated

import typer
from rich.table import Table

from lookalike.search.v1 import collection_pb2
from lookalike_client.cli.session import Output, OutputOption, console, session_of, show

app = typer.Typer(help="Other names for collections: set, list, delete.", no_args_is_help=True)

Alias = Annotated[str, typer.Argument(help="The alias, by its id.")]


@app.command("set")
def set_(
    context: typer.Context,
    alias: Alias,
    collection: Annotated[str, typer.Argument(help="The collection that it stands for.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Create an alias, or move it to another collection in one step."""
    with session_of(context).client() as client:
        done = client.set_alias(alias, collection)
    show(done, output, lambda: _table([done]))


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the aliases."""
    with session_of(context).client() as client:
        found = list(client.aliases())
    show(found, output, lambda: _table(found))


@app.command()
def delete(context: typer.Context, alias: Alias) -> None:
    """Delete an alias; its collection stays."""
    with session_of(context).client() as client:
        client.delete_alias(alias)
    console.print(f"deleted aliases/{alias.removeprefix('aliases/')}")


def _table(aliases: list[collection_pb2.Alias]) -> Table:
    table = Table()
    for heading in ("alias", "collection", "before"):
        table.add_column(heading, overflow="fold")
    for each in aliases:
        table.add_row(
            each.name.removeprefix("aliases/"),
            each.collection.removeprefix("collections/"),
            each.previous_collection.removeprefix("collections/"),
        )
    return table
