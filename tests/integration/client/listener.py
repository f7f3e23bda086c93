"""A small real program for the supervisor's tests: it listens on a port, and takes orders.

`python listener.py PORT LOG [ignore-sigterm | exit-at-once]` appends what happens to it to LOG.
"""

import signal
import socket
import sys
from pathlib import Path
from types import FrameType


def main(port: int, log: Path, order: str) -> None:
    def note(event: str) -> None:
        with log.open("a") as file:
            file.write(f"{event}\n")

    def leave(number: int, _frame: FrameType | None) -> None:
        note(f"{port} {signal.Signals(number).name}")
        if order != "ignore-sigterm":
            sys.exit(0)

    if order == "exit-at-once":
        sys.exit("this program never starts")
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    with socket.create_server(("127.0.0.1", port)) as server:
        note(f"{port} ready")
        while True:
            server.accept()[0].close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or [""])[0])
