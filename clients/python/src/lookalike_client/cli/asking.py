"""Options that say what is looked for, and the queries that they make."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lookalike.search.v1 import search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client._contents import contents_of_file
from lookalike_client._encoding import Match
from lookalike_client._searches import (
    by_content,
    by_entity,
    by_keyword,
    by_structure,
    by_vector,
)
from lookalike_client.cli.exits import CommandError, ExitCode

FileArgument = Annotated[
    Path | None,
    typer.Argument(help="A file to look for: a picture, a sound, a text.", show_default=False),
]
TextOption = Annotated[str | None, typer.Option(help="Words to look for by their meaning.")]
SmilesOption = Annotated[str | None, typer.Option(help="A molecule to look for, as SMILES.")]
VectorOption = Annotated[
    str | None, typer.Option(help="A vector to look for: `[0.1, 0.2]`, or the name of a JSON file.")
]
EntityOption = Annotated[
    str | None, typer.Option(help="A stored entity, by its id, to find others like.")
]
FieldOption = Annotated[
    str, typer.Option(help="The vector field, where the collection has several.")
]
FilterOption = Annotated[
    str, typer.Option("--filter", help='Such as: item = "a.png" AND year >= 2020.')
]
TopKOption = Annotated[int, typer.Option("--top-k", "-k", help="How many hits at most.")]
MinScoreOption = Annotated[float | None, typer.Option(help="Leave out hits with a lower score.")]


def asked(
    collection: str,
    *,
    file: Path | None = None,
    text: str | None = None,
    smiles: str | None = None,
    vector: str | None = None,
    entity: str | None = None,
    keyword: str | None = None,
    structure: str | None = None,
    match: Match = "exact",
    field: str = "",
) -> list[search_service_pb2.Query]:
    """The queries that were asked for, one for each option that was given."""
    contents = [
        content_of_file(file) if file is not None else None,
        content_pb2.Content(text=text) if text is not None else None,
        content_pb2.Content(smiles=smiles) if smiles is not None else None,
    ]
    queries = [by_content(each, field=field) for each in contents if each is not None]
    if vector is not None:
        queries.append(by_vector(_numbers(vector), field=field))
    if entity is not None:
        queries.append(by_entity(collection, entity, field=field))
    if keyword is not None:
        queries.append(by_keyword(keyword))
    if structure is not None:
        queries.append(by_structure(structure, match))
    return queries


def content_of_file(file: Path) -> content_pb2.Content:
    """The one content that a file holds."""
    if not file.exists():
        raise CommandError(f"no such file: {file}", ExitCode.USAGE)
    if not file.is_file():
        raise CommandError(f"{file} is no file - search with one file", ExitCode.USAGE)
    try:
        contents = contents_of_file(file)
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}", ExitCode.USAGE) from error
    if len(contents) != 1:
        raise CommandError(f"{file} holds {len(contents)} things, not one", ExitCode.USAGE)
    return contents[0][1]


def _numbers(vector: str) -> list[float]:
    try:
        found = json.loads(vector if vector.lstrip().startswith("[") else Path(vector).read_text())
        return [float(each) for each in found]
    except (OSError, TypeError, ValueError) as error:
        raise CommandError(
            f"--vector is no JSON array of numbers: {error}", ExitCode.USAGE
        ) from error
