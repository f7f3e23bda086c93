"""Ties a program's life to its parent's, then becomes that program.

A child cannot be trusted to notice that its supervisor was killed, and the supervisor cannot act
once it is dead; the kernel can. This file is run as a script, by path and without site packages,
so that it costs milliseconds: `python -I -S tether.py PARENT_PID PROGRAM [ARGUMENT ...]`.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask the kernel for SIGKILL when `parent` dies, then replace this process by `command`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request was in place
        sys.exit(1)
    # A shell that starts us in the background ignores SIGINT for us; Milvus Lite needs it to stop.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
