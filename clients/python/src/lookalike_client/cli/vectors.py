"""How `lookalike encode` shows vectors: for people, for programs, for numpy, or compared."""

import enum
import json
import struct
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from lookalike_client._vectors import Numbers
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.session import console, printable

NamedVector = tuple[str, Numbers]
Score = Callable[[Numbers, Numbers], float]

_SHOWN = 4
_WIDEST = 12
_ALIGNMENT = 64


class VectorOutput(enum.StrEnum):
    """How vectors and scores are shown."""

    TABLE = "table"
    JSON = "json"
    NPY = "npy"


def show_vectors(vectors: Sequence[NamedVector], title: str, output: VectorOutput) -> None:
    """Print vectors, or their beginnings."""
    if output is VectorOutput.NPY:
        if sys.stdout.isatty():
            raise CommandError("`-o npy` writes bytes: add `> vectors.npy`", ExitCode.USAGE)
        sys.stdout.buffer.write(npy([vector for _, vector in vectors]))
    elif output is VectorOutput.JSON:
        _print_lines({"name": name, "vector": list(vector)} for name, vector in vectors)
    else:
        table = Table(title=title)
        for heading in ("content", "dimensions", "vector"):
            table.add_column(heading, overflow="fold")
        for name, vector in vectors:
            begin = ", ".join(f"{each:.4g}" for each in vector[:_SHOWN])
            table.add_row(printable(name), str(len(vector)), f"{begin}, …")
        console.print(table)


def show_ranking(vectors: Sequence[NamedVector], score: Score, output: VectorOutput) -> None:
    """Print all others by their score against the first, best first."""
    (first, sought), *others = vectors
    scores = [(name, score(sought, vector)) for name, vector in others]
    ranked = sorted(scores, key=lambda each: -each[1])
    if output is VectorOutput.JSON:
        _print_lines({"name": name, "score": value} for name, value in ranked)
        return
    table = Table(title=f"score against {printable(first)}")
    table.add_column("score", justify="right")
    table.add_column("content", overflow="fold")
    for name, value in ranked:
        table.add_row(f"{value:.4f}", printable(name))
    console.print(table)


def show_matrix(vectors: Sequence[NamedVector], score: Score, output: VectorOutput) -> None:
    """Print the scores of all against all, in the order in which they were given."""
    if output is VectorOutput.TABLE and len(vectors) > _WIDEST:
        raise CommandError(
            f"a table of {len(vectors)} columns fits no terminal: add `-o json`, or `-o npy`",
            ExitCode.USAGE,
        )
    rows = [[score(left, right) for _, right in vectors] for _, left in vectors]
    names = [name for name, _ in vectors]
    if output is VectorOutput.NPY:
        show_vectors(list(zip(names, rows, strict=True)), "", output)
    elif output is VectorOutput.JSON:
        _print_lines({"name": n, "scores": row} for n, row in zip(names, rows, strict=True))
    else:
        console.print(_matrix_table(names, rows))


def _matrix_table(names: Sequence[str], rows: Sequence[Sequence[float]]) -> Table:
    table = Table()
    table.add_column("", justify="right")
    table.add_column("content", overflow="fold")
    for place in range(len(names)):
        table.add_column(str(place + 1), justify="right", no_wrap=True)
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        table.add_row(str(place + 1), printable(name), *(f"{each:.3f}" for each in row))
    return table


def _print_lines(objects: Iterator[dict[str, object]]) -> None:
    sys.stdout.writelines(json.dumps(each) + "\n" for each in objects)


def npy(rows: Sequence[Numbers]) -> bytes:
    """Return vectors of one length as numpy's file format: float32 [n, d], or uint8 for bits."""
    width = len(rows[0])
    letter, kind = ("B", "|u1") if isinstance(rows[0][0], int) else ("f", "<f4")
    shape = f"({len(rows)}, {width})"
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    begin = b"\x93NUMPY\x01\x00"
    padding = -(len(begin) + 2 + len(header) + 1) % _ALIGNMENT
    header += b" " * padding + b"\n"
    data = b"".join(struct.pack(f"<{width}{letter}", *row) for row in rows)
    return begin + struct.pack("<H", len(header)) + header + data
