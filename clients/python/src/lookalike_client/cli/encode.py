"""`lookalike encode`: vectors of files, texts, molecules and sequences, and how near they are."""

import enum
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_client._contents import content_of_file
from lookalike_client._vectors import Numbers, components, score
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.session import (
    Output,
    OutputOption,
    complaints,
    console,
    printable,
    session_of,
)

_SHOWN = 4
_BATCH_ITEMS = 64
_BATCH_BYTES = 8 << 20
_Named = tuple[str, content_pb2.Content]


class TaskType(enum.StrEnum):
    """What vectors are for."""

    QUERY = "query"
    DOCUMENT = "document"


def encode(
    context: typer.Context,
    encoder: Annotated[str, typer.Argument(help="The encoder, such as minilm-l6-v2.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files: pictures, sounds, FASTA, SMILES or text.", show_default=False),
    ] = None,
    *,
    text: Annotated[list[str] | None, typer.Option(help="A text.")] = None,
    smiles: Annotated[list[str] | None, typer.Option(help="A molecule.")] = None,
    sequence: Annotated[list[str] | None, typer.Option(help="A nucleotide sequence.")] = None,
    task: Annotated[TaskType, typer.Option(help="What the vectors are for.")] = TaskType.DOCUMENT,
    compare: Annotated[
        bool, typer.Option("--compare", help="Rank all others by their score against the first.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Encode files, texts, molecules or sequences, and show vectors or how near they are.

    With `-o json` one line each: its name and its vector, or its score with --compare.
    """
    named = list(_contents(files or [], text or [], smiles or [], sequence or []))
    if not named:
        raise CommandError("give files, --text, --smiles or --sequence", ExitCode.USAGE)
    vectors: list[tuple[str, Numbers]] = []
    with session_of(context).client() as client:
        described = client.encoder(encoder)
        for batch in _batches(named):
            reply = client.encode(encoder, [content for _, content in batch], task=task.value)
            vectors.extend(_vectors([name for name, _ in batch], reply))
    if compare:
        _show_scores(named[0][0], vectors, described.metric, output)
    else:
        _show_vectors(vectors, described.name, output)
    if len(vectors) < len(named):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _contents(
    files: Sequence[Path], texts: Sequence[str], smiles: Sequence[str], sequences: Sequence[str]
) -> Iterator[_Named]:
    """Yield what is to be encoded, with what to call it."""
    for path in files:
        try:
            yield str(path), content_of_file(path)
        except (OSError, ValueError) as error:
            raise CommandError(f"{path}: {error}", ExitCode.USAGE) from error
    yield from ((each, content_pb2.Content(text=each)) for each in texts)
    yield from ((each, content_pb2.Content(smiles=each)) for each in smiles)
    yield from ((each, content_pb2.Content(sequence=each)) for each in sequences)


def _batches(named: Sequence[_Named]) -> Iterator[list[_Named]]:
    """Cut what is to be encoded into requests of a moderate size."""
    batch: list[_Named] = []
    size = 0
    for each in named:
        grown = size + each[1].ByteSize()
        if batch and (len(batch) == _BATCH_ITEMS or grown > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each[1].ByteSize()
    yield batch


def _vectors(
    names: Sequence[str], reply: encoder_service_pb2.EncodeResponse
) -> Iterator[tuple[str, Numbers]]:
    """Yield vectors with their names; complain of what could not be encoded."""
    for name, result in zip(names, reply.results, strict=True):
        if result.HasField("error"):
            complaints.print(f"{printable(name)}: {printable(result.error.message)}")
        else:
            yield name, components(result.item.vectors[0])


def _show_vectors(vectors: Sequence[tuple[str, Numbers]], encoder: str, output: Output) -> None:
    if output is Output.JSON:
        for name, vector in vectors:
            sys.stdout.write(json.dumps({"name": name, "vector": list(vector)}) + "\n")
        return
    table = Table(title=encoder)
    for heading in ("content", "dimensions", "vector"):
        table.add_column(heading, overflow="fold")
    for name, vector in vectors:
        begin = ", ".join(f"{each:.4g}" for each in vector[:_SHOWN])
        table.add_row(printable(name), str(len(vector)), f"{begin}, …")
    console.print(table)


def _show_scores(
    first: str,
    vectors: Sequence[tuple[str, Numbers]],
    metric: "vector_pb2.Metric.ValueType",
    output: Output,
) -> None:
    """Rank everything else by its score against the first."""
    if not vectors or vectors[0][0] != first:
        raise CommandError(f"{printable(first)} could not be encoded: nothing to compare with")
    (_, sought), *others = vectors
    scores = [(name, score(metric, sought, vector)) for name, vector in others]
    ranked = sorted(scores, key=lambda each: -each[1])
    if output is Output.JSON:
        for name, value in ranked:
            sys.stdout.write(json.dumps({"name": name, "score": value}) + "\n")
        return
    table = Table(title=f"score against {printable(first)}")
    table.add_column("score", justify="right")
    table.add_column("content", overflow="fold")
    for name, value in ranked:
        table.add_row(f"{value:.4f}", printable(name))
    console.print(table)
