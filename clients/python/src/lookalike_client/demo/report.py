"""Says what the demonstration found: tables, examples, a contact sheet, what to try next."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from lookalike_client.demo import contact_sheet
from lookalike_client.demo.edits import EDITS, upright
from lookalike_client.demo.photos import PhotoSet
from lookalike_client.demo.trial import Query, Result
from lookalike_client.suite.ports import HOST, Ports


def results_table(results: Sequence[Result]) -> Table:
    """One row an edit: how often the original came first, and how sure that was."""
    table = Table("searched with")
    for heading in ("queries", "original first", "median score"):
        table.add_column(heading, justify="right")
    for result in results:
        share = f"{result.share_first:.1%}"
        table.add_row(result.edit, str(len(result.queries)), share, f"{result.median_score:.3f}")
    return table


def examples_table(results: Sequence[Result], *, each: int = 2) -> Table:
    """The first hits of some queries, with their scores."""
    table = Table("edit", "of", "best hits", "first?")
    for result in results:
        for query in _examples(result, each):
            hits = "\n".join(f"{hit.score:.3f} {_last(hit.item)}" for hit in query.hits[:3])
            verdict = "yes" if query.original_first else "no"
            table.add_row(result.edit, _last(query.original), hits, verdict, end_section=True)
    return table


def draw_sheet(results: Sequence[Result], photos: PhotoSet, *, each: int = 3) -> bytes:
    """A PNG of some queries of each edit, and their hits."""
    rows = [
        [
            contact_sheet.Picture(query.edited, f"{result.edit} of\n{_last(query.original)}"),
            *_pictures(query, photos),
        ]
        for result in results
        for query in _examples(result, each)
    ]
    return contact_sheet.draw(f"Lookalike: edited copies of {photos.origin}", rows)


def _pictures(query: Query, photos: PhotoSet) -> Iterator[contact_sheet.Picture]:
    for hit in query.hits:
        yield contact_sheet.Picture(
            (photos.folder / hit.item).read_bytes(),
            f"{hit.score:.3f}\n{_last(hit.item)}",
            original=hit.item == query.original,
        )


def _last(item: str) -> str:
    return item.rpartition("/")[2]


def _examples(result: Result, number: int) -> list[Query]:
    """Some queries, spread over the sample; one that went wrong is among them, if there is one."""
    step = max(1, len(result.queries) // number)
    chosen = list(result.queries[::step][:number])
    wrong = [query for query in result.queries if not query.original_first]
    if wrong and all(query.original_first for query in chosen):
        chosen[-1] = wrong[0]
    return chosen


def write_example(photos: PhotoSet, folder: Path) -> Path:
    """Write an edited copy that people can search with; returns its path."""
    original = photos.paths()[len(photos.paths()) // 2]
    edited = folder / f"{original.stem}-flipped.png"
    edited.write_bytes(EDITS["flip"](upright(original.read_bytes())))
    return edited


def command() -> str:
    """How to call `lookalike` from this folder, also where it is not on the path."""
    program = Path(sys.executable).with_name("lookalike")
    if not program.is_file():
        return f"{shlex.quote(sys.executable)} -m lookalike_client"
    return shown(program)


def shown(path: Path) -> str:
    """A path as it is typed in this folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def next_steps(ports: Ports, collection: str, example: Path) -> list[str]:
    """Commands to try on a running suite."""
    image = f"$(base64 -w0 {shlex.quote(str(example))})"
    query = f'{{"content": {{"image": "\'"{image}"\'"}}}}'
    body = f'{{"collection": "collections/{collection}", "top_k": 3, "queries": [{query}]}}'
    search = f"{HOST}:{ports.search}"
    service = "lookalike.search.v1.SearchService"
    return [
        f"{command()} --search {search} search {shlex.quote(str(example))} -c {collection}",
        f"grpcurl -plaintext {search} list",
        f"grpcurl -plaintext {search} describe {service}",
        f"echo '{body}' | grpcurl -plaintext -d @ {search} {service}/Search",
        f"xdg-open http://{HOST}:{ports.gateway}/docs",
    ]
