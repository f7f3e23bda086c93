"""Chooses the vector field that a query is about, where a collection has several."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from lookalike.search.v1 import search_service_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client.client import Client
from lookalike_client.errors import InvalidRequestError

Reply = TypeVar("Reply")

_MODALITIES = {
    "text": content_pb2.MODALITY_TEXT,
    "image": content_pb2.MODALITY_IMAGE,
    "audio": content_pb2.MODALITY_AUDIO,
    "smiles": content_pb2.MODALITY_MOLECULE,
    "sequence": content_pb2.MODALITY_SEQUENCE,
}


def with_fields(
    client: Client,
    collection: str,
    queries: Iterable[search_service_pb2.Query],
    ask: Callable[[], Reply],
) -> Reply:
    """Ask; if the service cannot tell a vector field, choose by what its encoder takes, and repeat.

    Raises what `ask` raises, also where no field or more than one would do.
    """
    try:
        return ask()
    except InvalidRequestError as error:
        contents = [query for query in queries if query.HasField("content")]
        unnamed = [query for query in contents if not query.vector_field]
        if not error.field.endswith("vector_field") or not unnamed:
            raise
        for query in unnamed:
            found = _fields(client, collection, query)
            if len(found) != 1:
                raise
            query.vector_field = found[0]
    return ask()


def _fields(client: Client, collection: str, query: search_service_pb2.Query) -> list[str]:
    """The names of the fields whose encoders take the query's content."""
    modality = _MODALITIES.get(query.content.WhichOneof("data") or "")
    return [
        field.name
        for field in client.collection(collection).vector_fields
        if field.encoder and modality in client.encoder(field.encoder).modalities
    ]
