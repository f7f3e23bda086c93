"""How hits, groups and labels are shown as tables."""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value
from rich.table import Table

from lookalike.search.v1 import search_service_pb2
from lookalike_client.cli.session import printable

_SHOWN = 60
"""Characters of a text that are shown."""


def answer_table(reply: search_service_pb2.SearchResponse) -> Table:
    """The hits, best first; those of a group under each other."""
    if not reply.groups:
        return hits_table(reply.hits)
    hits = [hit for group in reply.groups for hit in group.hits]
    groups = [
        plain_value(group.key) if place == 0 else ""
        for group in reply.groups
        for place, _ in enumerate(group.hits)
    ]
    return hits_table(hits, groups)


def hits_table(hits: Sequence[search_service_pb2.Hit], groups: Sequence[str] = ()) -> Table:
    """Some hits, one a row; columns in which all would be empty are left out."""
    columns: dict[str, list[str]] = {
        "group": list(groups),
        "rank": [str(hit.rank) for hit in hits],
        "score": [f"{hit.score:.4f}" for hit in hits],
        "distance": [f"{hit.distance:.4f}" if hit.HasField("distance") else "" for hit in hits],
        "item": [printable(hit.entity.item or hit.entity.name.rpartition("/")[2]) for hit in hits],
        "attributes": [_attributes(hit) for hit in hits],
        "text": [printable(_beginning(hit.entity.text)) for hit in hits],
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cells)}
    table = Table()
    for heading in shown:
        numbers = heading in {"rank", "score", "distance"}
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def labels_table(reply: search_service_pb2.ClassifyResponse) -> Table:
    """The labels with votes, the winner marked."""
    table = Table()
    table.add_column("label", overflow="fold")
    for heading in ("share of votes", "neighbours"):
        table.add_column(heading, justify="right")
    for place, each in enumerate(reply.candidates):
        chosen = place == 0 and reply.HasField("label")
        label = plain_value(each.label) + (" ←" if chosen else "")
        table.add_row(label, f"{each.confidence:.4f}", str(each.count))
    return table


def nothing(reply: search_service_pb2.SearchResponse) -> str:
    """Why there is nothing to show."""
    if reply.abstained:
        return f"nothing is similar enough; the best score was {reply.best_score:.4f}"
    return "nothing found"


def _attributes(hit: search_service_pb2.Hit) -> str:
    return ", ".join(
        f"{name}={plain_value(value)}"
        for name, value in sorted(hit.entity.attributes.fields.items())
    )


def _beginning(text: str) -> str:
    """The first words of a text, on one line."""
    text = " ".join(text.split())
    return text[:_SHOWN] + "…" * (len(text) > _SHOWN)


def plain_value(value: Value) -> str:
    """An attribute's value as people write it: `4` rather than `4.0`."""
    found: object = MessageToDict(value)
    return printable(str(int(found) if isinstance(found, float) and found.is_integer() else found))
