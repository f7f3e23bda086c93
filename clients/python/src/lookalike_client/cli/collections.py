"""`lookalike collections`: create collections, look at them, change and delete them."""

from typing import Annotated

import typer
from rich.table import Table

from lookalike.search.v1 import collection_pb2
from lookalike_client._names import DEFAULT_IMAGE_ENCODER
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.schemas import (
    ATTRIBUTE_HELP,
    FIELD_HELP,
    attribute_of,
    field_of,
    span_of,
)
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    console,
    printable,
    session_of,
    show,
    state_word,
)

app = typer.Typer(
    help="Collections: list, get, create, update, load, release, optimize, delete.",
    no_args_is_help=True,
)

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
    show(found, output, lambda: _details(found))


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
    partition_key: Annotated[
        str, typer.Option(help="An attribute whose values are kept apart, for cheap filters.")
    ] = "",
    ttl: Annotated[
        str, typer.Option(help="How long entities live after their last write: 90s, 12h, 30d.")
    ] = "",
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
            partition_key=partition_key,
            ttl=span_of(ttl) if ttl else None,
            description=description,
        )
    show(created, output, lambda: _table([created]))


@app.command()
def update(
    context: typer.Context,
    collection: Collection,
    *,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    ttl: Annotated[
        str, typer.Option(help="How long entities live after their last write; 0: for ever.")
    ] = "",
    add_attribute: Annotated[list[str] | None, typer.Option(help=ATTRIBUTE_HELP)] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change the description or the time to live, or add attributes."""
    if description is None and not ttl and not add_attribute:
        raise CommandError("give --description, --ttl or --add-attribute", ExitCode.USAGE)
    with session_of(context).client() as client:
        changed = client.update_collection(
            collection,
            description=description,
            ttl=span_of(ttl) if ttl else None,
            add_attributes=[attribute_of(each) for each in add_attribute or ()],
        )
    show(changed, output, lambda: _table([changed]))


@app.command()
def load(
    context: typer.Context, collection: Collection, output: OutputOption = Output.TABLE
) -> None:
    """Bring a collection into memory, where searches need it."""
    with session_of(context).client() as client:
        loaded = client.load_collection(collection)
    show(loaded, output, lambda: _table([loaded]))


@app.command()
def release(
    context: typer.Context, collection: Collection, output: OutputOption = Output.TABLE
) -> None:
    """Take a collection out of memory, until `load`; it is kept, and found by no search."""
    with session_of(context).client() as client:
        released = client.release_collection(collection)
    show(released, output, lambda: _table([released]))


@app.command()
def optimize(
    context: typer.Context, collection: Collection, output: OutputOption = Output.TABLE
) -> None:
    """Flush, compact and index now rather than at leisure."""
    with session_of(context).client() as client:
        done = client.optimize_collection(collection)
    show(done, output, lambda: _details(done))


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


def _details(collection: collection_pb2.Collection) -> Table:
    """All that there is to know about one collection."""
    rows = {
        "collection": collection.name.removeprefix("collections/"),
        "description": printable(collection.description),
        "labels": printable(", ".join(f"{k}={v}" for k, v in sorted(collection.labels.items()))),
        "aliases": ", ".join(each.removeprefix("aliases/") for each in collection.aliases),
        "state": state_word(collection_pb2.Collection.State.Name(collection.state)),
        "migration": _migration(collection),
        "entities": f"{collection.entity_count:,}",
        "memory": f"{collection.memory_bytes / 2**20:,.1f} MiB",
        "time to live": str(collection.ttl.ToTimedelta()) if collection.HasField("ttl") else "",
        "partition key": collection.partition_key,
        "text index": "yes" if collection.HasField("text_index") else "",
        "vector fields": "\n".join(map(_indexed_field, collection.vector_fields)),
        "attributes": "\n".join(map(_attribute, collection.attributes)),
        "backend": collection.backend,
        "created": collection.create_time.ToJsonString(),
        "etag": collection.etag,
    }
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _migration(collection: collection_pb2.Collection) -> str:
    if not collection.HasField("migration"):
        return ""
    migration = collection.migration
    phase = collection_pb2.Migration.Phase.Name(migration.phase).removeprefix("PHASE_").lower()
    return f"{phase}, to {migration.target.removeprefix('collections/')}"


def _indexed_field(field: collection_pb2.VectorField) -> str:
    kind = collection_pb2.Index.Type.Name(field.index.type).removeprefix("TYPE_").lower()
    source = f" of {field.source_attribute}" if field.source_attribute else ""
    index = "" if kind == "unspecified" else f", {kind}"
    return f"{_field(field)}{source}{index}, {field.index.progress:.0%} indexed"


def _attribute(attribute: collection_pb2.AttributeField) -> str:
    kind = collection_pb2.AttributeField.Type.Name(attribute.type)
    flags = [
        *(["filterable"] if attribute.filterable else []),
        *(["full-text"] if attribute.full_text else []),
        *([] if attribute.nullable else ["required"]),
    ]
    return ", ".join([f"{attribute.name}: {kind.removeprefix('TYPE_').lower()}", *flags])


def _field(field: collection_pb2.VectorField) -> str:
    return f"{field.name}: {field.encoder or 'your own vectors'}, {field.dimensions}-d"
