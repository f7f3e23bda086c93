"""What the service and its decoding processes say to each other, over a socket between the two.

A message is JSON, with bytes behind it. A request carries the item as an open file, so its bytes
are never copied. The other side may have been taken over by what it decodes, so everything that it
says is measured before it is believed.
"""

import json
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum

from lookalike_ingest.decoding import Facts

MAX_TEXT_BYTES = 4 << 20
MAX_DATA_BYTES = 512 << 20
_HEAD = struct.Struct("<II")  # bytes of the JSON, bytes behind it


class Kind(StrEnum):
    """What a message is."""

    REQUEST = "request"
    """A task, its arguments, and a file."""
    PART = "part"
    """Something that the task found."""
    ALIVE = "alive"
    """It found nothing, and goes on."""
    ERROR = "error"
    """Why it ends; `END` follows."""
    END = "end"
    """The process waits for the next request, or asks to be replaced."""


class BrokenMessageError(Exception):
    """The other side breaks the rules of the conversation."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    kind: Kind
    fields: Facts = field(default_factory=dict)
    data: bytes = b""


def send(channel: socket.socket, message: Message, file: int | None = None) -> None:
    """Send a message, and an open file with it. Blocks while the other side does not read."""
    text = json.dumps([message.kind, message.fields], separators=(",", ":")).encode()
    head = _HEAD.pack(len(text), len(message.data))
    if file is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [file])
    channel.sendall(text)
    channel.sendall(message.data)


def receive(channel: socket.socket) -> Message | None:
    """Return the next message, or None where the other side has gone.

    Raises BrokenMessageError, or TimeoutError as the socket is set.
    """
    head = _read(channel, _HEAD.size)
    return None if head is None else _rest(channel, head)


def receive_with_file(channel: socket.socket) -> tuple[Message, int] | None:
    """Return the next request with its open file, which is the caller's to close."""
    head, files, _, _ = socket.recv_fds(channel, _HEAD.size, 1)
    if not head:
        return None
    message = _rest(channel, head)
    if message is None:
        return None
    if len(files) != 1:
        raise BrokenMessageError("a request brings one file")
    return message, files[0]


def _rest(channel: socket.socket, head: bytes) -> Message | None:
    text_bytes, data_bytes = _HEAD.unpack(head)
    if text_bytes > MAX_TEXT_BYTES or data_bytes > MAX_DATA_BYTES:
        raise BrokenMessageError(f"a message of {text_bytes} and {data_bytes} bytes")
    text, data = _read(channel, text_bytes), _read(channel, data_bytes)
    if text is None or data is None:
        return None
    try:
        kind, fields = json.loads(text)
        message = Message(Kind(kind), fields, data)
    except (TypeError, ValueError) as error:
        raise BrokenMessageError("a message of another form") from error
    if not isinstance(fields, dict):
        raise BrokenMessageError("a message of another form")
    return message


def _read(channel: socket.socket, count: int) -> bytes | None:
    """Return exactly so many bytes; None where the other side has gone before."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = channel.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return bytes(buffer)
