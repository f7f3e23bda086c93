"""`lookalike search`: shows what is similar to a file, to words, to a vector or to an entity."""

import enum
from typing import Annotated

import typer

from lookalike.search.v1 import search_service_pb2
from lookalike_client._names import collection_name, encoder_name
from lookalike_client.cli.asking import (
    EntityOption,
    FieldOption,
    FileArgument,
    FilterOption,
    MinScoreOption,
    SmilesOption,
    TextOption,
    TopKOption,
    VectorOption,
    asked,
)
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.fields import with_fields
from lookalike_client.cli.hits import answer_table, nothing
from lookalike_client.cli.session import (
    CollectionOption,
    Output,
    OutputOption,
    complaints,
    session_of,
    show,
)


class Matching(enum.StrEnum):
    """What hits are to a structure."""

    EXACT = "exact"
    SUBSTRUCTURE = "substructure"
    SUPERSTRUCTURE = "superstructure"


def search(
    context: typer.Context,
    *,
    file: FileArgument = None,
    text: TextOption = None,
    keyword: Annotated[
        str | None, typer.Option(help="Words to look up in the entities' texts (BM25).")
    ] = None,
    smiles: SmilesOption = None,
    structure: Annotated[
        str | None, typer.Option(help="A molecule, as SMILES, to match by its structure.")
    ] = None,
    match: Annotated[
        Matching, typer.Option(help="What hits are to the structure: it, around it, or in it.")
    ] = Matching.EXACT,
    vector: VectorOption = None,
    entity: EntityOption = None,
    collection: CollectionOption = "photos",
    field: FieldOption = "",
    top_k: TopKOption = 10,
    offset: Annotated[int, typer.Option(help="How many hits to leave out first.")] = 0,
    min_score: MinScoreOption = None,
    filter_: FilterOption = "",
    group_by: Annotated[
        str, typer.Option(help="Put hits with the same `item`, or attribute, into groups.")
    ] = "",
    rerank: Annotated[
        str, typer.Option(help="An encoder that looks at the best hits a second time.")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell how long each stage took.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find what is similar. Several of the ways to ask are fused into one list."""
    queries = asked(
        collection,
        file=file,
        text=text,
        smiles=smiles,
        vector=vector,
        entity=entity,
        keyword=keyword,
        structure=structure,
        match=match.value,
        field=field,
    )
    if not queries:
        raise CommandError(
            "give a file, --text, --keyword, --smiles, --structure, --vector or --entity",
            ExitCode.USAGE,
        )
    for query in queries:
        if min_score is not None:
            query.min_score = min_score
    request = search_service_pb2.SearchRequest(
        collection=collection_name(collection),
        queries=queries,
        top_k=top_k,
        offset=offset,
        filter=filter_,
        explain=explain,
    )
    if group_by:
        request.group_by.field = group_by
    if rerank:
        request.rerank.encoder = encoder_name(rerank)
    with session_of(context).client() as client:
        reply = with_fields(client, collection, request.queries, lambda: client.search(request))
    if output is Output.TABLE and not (reply.hits or reply.groups):
        complaints.print(nothing(reply))
    else:
        show(reply, output, lambda: answer_table(reply))
    if explain and output is Output.TABLE:
        complaints.print(_timings(reply))


def _timings(reply: search_service_pb2.SearchResponse) -> str:
    return ", ".join(
        f"{each.stage} {each.duration.ToTimedelta().total_seconds() * 1000:.1f} ms"
        for each in reply.timings
    )
