"""`lookalike encode`: vectors of files, texts, molecules and sequences, and how near they are."""

import enum
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client._contents import Modalities, Named, contents_of_file, contents_of_stream
from lookalike_client._vectors import Numbers, components, score
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.session import complaints, printable, session_of
from lookalike_client.cli.vectors import (
    VectorOutput,
    show_matrix,
    show_ranking,
    show_vectors,
)
from lookalike_client.client import Client

_BATCH_ITEMS = 64
_BATCH_BYTES = 8 << 20
_PIPE = Path("-")
_Found = tuple[str, Numbers | None]
"""A vector with its name, or the name of what could not be encoded."""


class TaskType(enum.StrEnum):
    """What vectors are for."""

    QUERY = "query"
    DOCUMENT = "document"


def encode(
    context: typer.Context,
    encoder: Annotated[str, typer.Argument(help="The encoder, such as minilm-l6-v2.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files: pictures, sounds, FASTA, SMILES, text; `-`: lines from a pipe.",
            show_default=False,
        ),
    ] = None,
    *,
    text: Annotated[list[str] | None, typer.Option(help="A text.")] = None,
    smiles: Annotated[list[str] | None, typer.Option(help="A molecule.")] = None,
    sequence: Annotated[list[str] | None, typer.Option(help="A nucleotide sequence.")] = None,
    task: Annotated[TaskType, typer.Option(help="What the vectors are for.")] = TaskType.DOCUMENT,
    compare: Annotated[
        bool, typer.Option("--compare", help="Rank all others by their score against the first.")
    ] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Score all against all, in the order given.")
    ] = False,
    output: Annotated[
        VectorOutput,
        typer.Option("--output", "-o", help="A table, lines of JSON, or numpy's file format."),
    ] = VectorOutput.TABLE,
) -> None:
    """Encode files, texts, molecules or sequences, and show vectors or how near they are.

    With `-o json` one line each: its name and its vector, or its scores. `-o npy` writes a row for
    each, files before texts, molecules and sequences, or nothing at all if one failed.
    """
    if compare and (matrix or output is VectorOutput.NPY):
        raise CommandError("--compare goes neither with --matrix nor with npy", ExitCode.USAGE)
    if not (files or text or smiles or sequence):
        raise CommandError("give files, --text, --smiles or --sequence", ExitCode.USAGE)
    with session_of(context).client() as client:
        described = client.encoder(encoder)
        named = list(_read_files(files or [], described.modalities))
        named += [(each, content_pb2.Content(text=each)) for each in text or []]
        named += [(each, content_pb2.Content(smiles=each)) for each in smiles or []]
        named += [(each, content_pb2.Content(sequence=each)) for each in sequence or []]
        found = list(_encode(client, encoder, named, task))
    vectors = [(name, vector) for name, vector in found if vector is not None]
    _check_complete(found, first_needed=compare, all_needed=output is VectorOutput.NPY)
    nearness = partial(score, described.metric)
    if compare:
        show_ranking(vectors, nearness, output)
    elif matrix:
        show_matrix(vectors, nearness, output)
    elif vectors:
        show_vectors(vectors, described.name, output)
    if len(vectors) < len(found):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _read_files(files: Sequence[Path], modalities: Modalities) -> Iterator[Named]:
    """Yield what files hold, with what to call it."""
    for path in files:
        try:
            if path == _PIPE:
                yield from contents_of_stream(sys.stdin.buffer.read(), modalities)
                continue
            held = contents_of_file(path, modalities)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise CommandError(f"{path}: {said}", ExitCode.USAGE) from error
        for name, content in held:
            yield f"{path}:{name}" if len(held) > 1 else str(path), content


def _encode(
    client: Client, encoder: str, named: Sequence[Named], task: TaskType
) -> Iterator[_Found]:
    """Yield what has become of each; complain of what could not be encoded."""
    for batch in _batches(named):
        reply = client.encode(encoder, [content for _, content in batch], task=task.value)
        for (name, _), result in zip(batch, reply.results, strict=True):
            yield name, _vector(name, result)


def _vector(name: str, result: encoder_service_pb2.EncodeResult) -> Numbers | None:
    if result.HasField("error"):
        complaints.print(f"{printable(name)}: {printable(result.error.message)}", soft_wrap=True)
        return None
    return components(result.item.vectors[0])


def _batches(named: Sequence[Named]) -> Iterator[list[Named]]:
    """Cut what is to be encoded into requests of a moderate size."""
    batch: list[Named] = []
    size = 0
    for each in named:
        grown = size + each[1].ByteSize()
        if batch and (len(batch) == _BATCH_ITEMS or grown > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each[1].ByteSize()
    yield batch


def _check_complete(found: Sequence[_Found], *, first_needed: bool, all_needed: bool) -> None:
    """Raise CommandError where a vector is missing without which nothing can be shown."""
    if first_needed and found[0][1] is None:
        raise CommandError(f"nothing to compare with: {printable(found[0][0])} has no vector")
    if all_needed and any(vector is None for _, vector in found):
        raise CommandError("nothing was written: a row for each is what `-o npy` promises")
