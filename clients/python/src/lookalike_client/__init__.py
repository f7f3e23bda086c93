"""Client of the Lookalike suite: search for similar things, and fill collections with them."""

from lookalike_client._searches import by_content, by_entity, by_keyword, by_structure, by_vector
from lookalike_client._watching import FINAL_STATES
from lookalike_client.client import Client
from lookalike_client.errors import (
    AccessError,
    AlreadyExistsError,
    CallCancelledError,
    ConflictError,
    DeadlineError,
    ExhaustedError,
    InvalidRequestError,
    LookalikeError,
    NotFoundError,
    PreconditionError,
    ServerError,
    UnavailableError,
)

__all__ = [
    "FINAL_STATES",
    "AccessError",
    "AlreadyExistsError",
    "CallCancelledError",
    "Client",
    "ConflictError",
    "DeadlineError",
    "ExhaustedError",
    "InvalidRequestError",
    "LookalikeError",
    "NotFoundError",
    "PreconditionError",
    "ServerError",
    "UnavailableError",
    "by_content",
    "by_entity",
    "by_keyword",
    "by_structure",
    "by_vector",
]
