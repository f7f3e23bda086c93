"""Does what its arguments say, well or badly."""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.decoding import TIME, DecodeLimits

Found = Iterator[tuple[dict[str, Any], bytes] | None]


def run(file: BinaryIO, arguments: Mapping[str, Any], limits: DecodeLimits) -> Found:
    return globals()[str(arguments["how"])](file, arguments, limits)  # type: ignore[no-any-return] # by name


def echo(file: BinaryIO, arguments: Mapping[str, Any], limits: DecodeLimits) -> Found:
    while chunk := file.read(int(arguments.get("size", 1 << 16))):
        yield {"bytes": len(chunk), "pid": os.getpid(), "pixels": limits.max_pixels}, chunk


def endless(_file: BinaryIO, arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    while True:
        yield {"pid": os.getpid()}, bytes(int(arguments.get("size", 1 << 20)))


def crash(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {"pid": os.getpid()}, b"first"
    ctypes.string_at(0)


def abort(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {"pid": os.getpid()}, b"first"
    os.abort()


def hang(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {"pid": os.getpid()}, b""
    time.sleep(1000)


def spin(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    while True:
        yield None


def slow(_file: BinaryIO, arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    end = time.monotonic() + float(arguments["seconds"])
    while time.monotonic() < end:
        time.sleep(0.01)
        yield None
    yield {}, b"at last"


def eat(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    eaten = []
    while True:
        eaten.append(bytearray(64 << 20))
        yield {"pid": os.getpid()}, b""


def refuse(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {"pid": os.getpid()}, b"first"
    raise InvalidContentError("broken there", metadata={TIME: "1.5"})


def defect(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {}, b"first"
    raise ZeroDivisionError("of a library")


def leave(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    yield {}, b"first"
    os._exit(3)


def lie(_file: BinaryIO, _arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    """Say something else than a message, over the only socket there is."""
    os.write(int(sys.argv[1]), b"\xff" * 8)
    yield {}, b""


def look(file: BinaryIO, arguments: Mapping[str, Any], _limits: DecodeLimits) -> Found:
    """Tell what a task can reach."""
    yield (
        {
            "read": _refusal(lambda: Path(str(arguments["path"])).read_bytes()),
            "write": _refusal(lambda: os.pwrite(file.fileno(), b"x", 0)),
            "connect": _refusal(socket.socket),
            "environment": sorted(os.environ),
            "size": max(os.fstat(int(number)).st_size for number in _numbers()),
            "open": [int(name) for name in _numbers()],
        },
        b"",
    )


def _refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return type(error).__name__ + str(error.errno)
    return "allowed"


def _numbers() -> list[str]:
    found = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(str(number))
    return found
