"""`lookalike collections`: list, look at, create, change and delete collections."""

from typing import Annotated

import typer
from rich.table import Table

from lookalike.search.v1 import collection_pb2
from lookalike_client._names import DEFAULT_IMAGE_ENCODER
from lookalike_client.cli.schemas import ATTRIBUTE_HELP, FIELD_HELP, attribute_of, field_of
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    console,
    printable,
    session_of,
    show,
    state_word,
)

app = typer.Typer(help="Collections: list, get, create, update, delete.", no_args_is_help=True)

Collection = Annotated[str, typer.Argument(help="The collection, by its id.")]


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the collections."""
    with session_of(context).client() as client:
        found = list(client.collections())
    show(found, output, lambda: _table(found))


@app.command()
def get(
    context: typer.Context, collection: Collection, output: OutputOption = Output.TABLE
) -> None:
    """Show one collection."""
    with session_of(context).client() as client:
        found = client.collection(collection)
    show(found, output, lambda: _table([found]))


@app.command()
def create(
    context: typer.Context,
    collection: Collection,
    *,
    encoder: Annotated[
        str, typer.Option(help="The encoder that it is bound to.")
    ] = DEFAULT_IMAGE_ENCODER,
    field: Annotated[list[str] | None, typer.Option(help=FIELD_HELP)] = None,
    attribute: Annotated[list[str] | None, typer.Option(help=ATTRIBUTE_HELP)] = None,
    text_index: Annotated[
        bool, typer.Option("--text-index", help="Let keywords look into the entities' texts.")
    ] = False,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a collection, by an encoder or by vector fields."""
    with session_of(context).client() as client:
        created = client.create_collection(
            collection,
            encoder=encoder,
            vector_fields=[field_of(each) for each in field or ()],
            attributes=[attribute_of(each) for each in attribute or ()],
            text_index=collection_pb2.TextIndex() if text_index else None,
            description=description,
        )
    show(created, output, lambda: _table([created]))


@app.command()
def update(
    context: typer.Context,
    collection: Collection,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    add_attribute: Annotated[list[str] | None, typer.Option(help=ATTRIBUTE_HELP)] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change the description, or add attributes."""
    with session_of(context).client() as client:
        changed = client.update_collection(
            collection,
            description=description,
            add_attributes=[attribute_of(each) for each in add_attribute or ()],
        )
    show(changed, output, lambda: _table([changed]))


@app.command()
def delete(
    context: typer.Context,
    collection: Collection,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection with all its entities."""
    with session_of(context).client() as client:
        found = client.collection(collection)
        question = f"Delete {found.name} with {found.entity_count:,} entities?"
        if not yes:
            typer.confirm(question, abort=True)
        client.delete_collection(collection)
    console.print(f"deleted {found.name}")


def _table(collections: list[collection_pb2.Collection]) -> Table:
    table = Table()
    for heading in ("collection", "state", "entities", "vector fields", "backend", "description"):
        table.add_column(heading, overflow="fold")
    for each in collections:
        table.add_row(
            each.name.removeprefix("collections/"),
            state_word(collection_pb2.Collection.State.Name(each.state)),
            f"{each.entity_count:,}",
            "\n".join(_field(field) for field in each.vector_fields),
            each.backend,
            printable(each.description),
        )
    return table


def _field(field: collection_pb2.VectorField) -> str:
    return f"{field.name}: {field.encoder or 'your own vectors'}, {field.dimensions}-d"
