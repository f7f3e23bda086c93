"""`lookalike recommend` and `lookalike classify`: more like these, and what is this."""

import enum
from typing import Annotated

import typer

from lookalike.search.v1 import search_service_pb2
from lookalike_client._names import collection_name
from lookalike_client._searches import by_entity
from lookalike_client.cli.asking import (
    EntityOption,
    FieldOption,
    FileArgument,
    FilterOption,
    MinScoreOption,
    TextOption,
    TopKOption,
    VectorOption,
    asked,
)
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.fields import with_fields
from lookalike_client.cli.hits import answer_table, labels_table, nothing
from lookalike_client.cli.session import (
    CollectionOption,
    Output,
    OutputOption,
    complaints,
    session_of,
    show,
)


class Strategy(enum.StrEnum):
    """How several examples become one list."""

    AVERAGE = "average"
    BEST_SCORE = "best-score"
    INTERESTS = "interests"


def recommend(
    context: typer.Context,
    *,
    like: Annotated[list[str], typer.Option(help="An entity to find more like, by its id.")],
    unlike: Annotated[
        list[str] | None, typer.Option(help="An entity to keep away from, by its id.")
    ] = None,
    exclude_item: Annotated[
        list[str] | None, typer.Option(help="An item to leave out, such as one already seen.")
    ] = None,
    strategy: Annotated[
        Strategy, typer.Option(help="How several examples become one list.")
    ] = Strategy.AVERAGE,
    collection: CollectionOption = "photos",
    field: FieldOption = "",
    top_k: TopKOption = 10,
    filter_: FilterOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Find more like some entities, and unlike others. `--like` and the like can be repeated."""
    with session_of(context).client() as client:
        reply = client.recommend(
            collection,
            [by_entity(collection, each, field=field) for each in like],
            unlike=[by_entity(collection, each, field=field) for each in unlike or ()],
            strategy=strategy.value,
            exclude_items=exclude_item or (),
            top_k=top_k,
            filter_=filter_,
        )
    if output is Output.TABLE and not reply.hits:
        complaints.print(nothing(reply))
    else:
        show(reply, output, lambda: answer_table(reply))


def classify(
    context: typer.Context,
    *,
    file: FileArgument = None,
    label: Annotated[str, typer.Option(help="The attribute that holds the label.")],
    text: TextOption = None,
    vector: VectorOption = None,
    entity: EntityOption = None,
    collection: CollectionOption = "photos",
    field: FieldOption = "",
    neighbors: Annotated[int, typer.Option(help="How many neighbours vote.")] = 10,
    min_score: MinScoreOption = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="No label with a smaller share of the votes, 0 to 1.")
    ] = None,
    min_margin: Annotated[
        float | None, typer.Option(help="No label with a smaller lead over the second, 0 to 1.")
    ] = None,
    filter_: FilterOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the label of something by the vote of its nearest neighbours, or that there is none."""
    queries = asked(collection, file=file, text=text, vector=vector, entity=entity, field=field)
    if len(queries) != 1:
        raise CommandError("give one of: a file, --text, --vector, --entity", ExitCode.USAGE)
    if min_score is not None:
        queries[0].min_score = min_score
    request = search_service_pb2.ClassifyRequest(
        collection=collection_name(collection),
        query=queries[0],
        label=label,
        neighbors=neighbors,
        min_confidence=min_confidence,
        min_margin=min_margin,
        filter=filter_,
    )
    with session_of(context).client() as client:
        reply = with_fields(client, collection, [request.query], lambda: client.classify(request))
    if output is Output.TABLE and not reply.HasField("label"):
        complaints.print("no match: no label is clear enough")
    show(reply, output, lambda: labels_table(reply))
