"""`lookalike entities`: write, look at, count, change and delete what collections hold."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import ParseDict, ParseError
from rich.table import Table

from lookalike.search.v1 import entity_pb2
from lookalike.type.v1 import outcome_pb2
from lookalike_client.cli.asking import FilterOption
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.hits import plain_value
from lookalike_client.cli.session import (
    CollectionOption,
    Output,
    OutputOption,
    complaints,
    console,
    printable,
    session_of,
    show,
)
from lookalike_client.errors import LookalikeError

app = typer.Typer(help="Entities: write, get, count, update, delete.", no_args_is_help=True)

Entity = Annotated[str, typer.Argument(help="The entity, by its id.")]
_STDIN = "-"


@app.command()
def write(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="JSON lines, an entity each; `-` reads them from a pipe.")
    ],
    collection: CollectionOption = "photos",
) -> None:
    """Write entities: new ones, or others in the place of those with the same id."""
    done: dict[str, int] = {}
    failed = 0
    with session_of(context).client() as client:
        for place, result in enumerate(client.write(collection, _entities(file)), start=1):
            if result.HasField("error"):
                failed += 1
                error = LookalikeError.from_status(result.error)
                complaints.print(f"line {place}: {printable(error.brief())}", soft_wrap=True)
            else:
                outcome = outcome_pb2.Outcome.Name(result.entity.outcome)
                word = outcome.removeprefix("OUTCOME_").lower()
                done[word] = done.get(word, 0) + 1
    counts = [f"{count:,} {word}" for word, count in done.items()]
    console.print(", ".join([*counts, *([f"{failed:,} failed"] if failed else [])]) or "nothing")
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command()
def get(
    context: typer.Context,
    entity: Entity,
    collection: CollectionOption = "photos",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one entity, without its vectors."""
    with session_of(context).client() as client:
        found = client.entity(collection, entity)
    show(found, output, lambda: _table(found))


@app.command()
def count(
    context: typer.Context, collection: CollectionOption = "photos", filter_: FilterOption = ""
) -> None:
    """Count entities, all or those that match a filter."""
    with session_of(context).client() as client:
        console.print(client.count(collection, filter_=filter_))


@app.command()
def update(
    context: typer.Context,
    entity: Entity,
    *,
    collection: CollectionOption = "photos",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An attribute: `name=value`; the value is JSON, or a text."),
    ] = None,
    unset: Annotated[list[str] | None, typer.Option(help="An attribute to remove.")] = None,
    text: Annotated[str | None, typer.Option(help="Another text.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change attributes or the text of an entity; its vectors stay. Options can be repeated."""
    attributes = dict.fromkeys(unset or ()) | dict(map(_assignment, set_ or ()))
    if not attributes and text is None:
        raise CommandError("give --set, --unset or --text", ExitCode.USAGE)
    with session_of(context).client() as client:
        changed = client.update_entity(collection, entity, attributes=attributes, text=text)
    show(changed, output, lambda: _table(changed))


@app.command()
def delete(
    context: typer.Context,
    entities: Annotated[list[str] | None, typer.Argument(help="Entities, by their ids.")] = None,
    *,
    collection: CollectionOption = "photos",
    item: Annotated[list[str] | None, typer.Option(help="All entities of an item.")] = None,
    filter_: FilterOption = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete entities by their ids, by item or by filter."""
    if bool(entities) + bool(item) + bool(filter_) != 1:
        raise CommandError("give ids, --item or --filter", ExitCode.USAGE)
    with session_of(context).client() as client:

        def delete_them(*, only_count: bool) -> int:
            return client.delete_entities(
                collection,
                entities or (),
                items=item or (),
                filter_=filter_,
                only_count=only_count,
            )

        if not yes:
            number = delete_them(only_count=True)
            typer.confirm(f"Delete {number:,} entities of {collection}?", abort=True)
        console.print(f"deleted {delete_them(only_count=False):,}")


def _entities(file: Path) -> Iterator[entity_pb2.Entity]:
    """Yield the entity of each line."""
    if str(file) == _STDIN:
        yield from map(_entity, enumerate(sys.stdin, start=1))
        return
    try:
        with file.open(encoding="utf-8") as lines:
            yield from map(_entity, enumerate(lines, start=1))
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}", ExitCode.USAGE) from error


def _entity(numbered: tuple[int, str]) -> entity_pb2.Entity:
    number, line = numbered
    try:
        return ParseDict(json.loads(line), entity_pb2.Entity())
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise CommandError(f"line {number} is no entity: {reason}", ExitCode.USAGE) from error


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set needs name=value, not {text}", ExitCode.USAGE)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _table(entity: entity_pb2.Entity) -> Table:
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    plain = ("name", "item", "asset", "text", "source_uri", "generation", "content_hash")
    for name in plain:
        if value := getattr(entity, name):
            table.add_row(name, printable(str(value)))
    for name, value in sorted(entity.attributes.fields.items()):
        table.add_row(f"attributes.{printable(name)}", plain_value(value))
    return table
