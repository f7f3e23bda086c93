"""What all commands share: where the services are, who calls, and how results are shown."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType

from lookalike_client.client import Client

console = Console(highlight=False, markup=False, emoji=False)
"""Where results go."""
complaints = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Where everything else goes."""


class Output(enum.StrEnum):
    """How results are shown."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]
CollectionOption = Annotated[
    str, typer.Option("--collection", "-c", help="The collection, by its id.")
]


@dataclass(frozen=True)
class Session:
    """Where the services are, and who calls."""

    encoder: str
    search: str
    ingest: str
    gateway: str
    token_file: Path | None
    ca_file: Path | None
    timeout: timedelta

    def client(self, *, health_checked: bool = True) -> Client:
        """A client of these services."""
        return Client(
            encoder=self.encoder,
            search=self.search,
            ingest=self.ingest,
            token=self.token_file.read_text(encoding="utf-8").strip() if self.token_file else None,
            ca_file=self.ca_file,
            timeout=self.timeout,
            health_checked=health_checked,
        )


def session_of(context: typer.Context) -> Session:
    """The session that the root command put into the context."""
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("the root command has not run")
    return session


def show(
    found: Message | Sequence[Message], output: Output, table: Callable[[], RenderableType]
) -> None:
    """Print what was found: a table, or JSON as the gateway would answer."""
    if output is Output.TABLE:
        console.print(table())
    elif isinstance(found, Message):
        console.print_json(data=MessageToDict(found))
    else:
        console.print_json(data=[MessageToDict(each) for each in found])


def printable(text: str) -> str:
    """The text as a terminal may get it: what only controls the terminal is written as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def state_word(name: str) -> str:
    """`STATE_READY` as people write it: `ready`."""
    return name.removeprefix("STATE_").replace("_", " ").lower()
