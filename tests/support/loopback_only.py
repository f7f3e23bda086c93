"""Runs a command in a network namespace of its own, in which there is nothing but loopback.

    python -m tests.support.loopback_only COMMAND [ARGUMENT …]

For servers that listen on all interfaces. Linux only; needs root or user namespaces, nothing else.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_GET_FLAGS: Final = 0x8913
_SET_FLAGS: Final = 0x8914
_UP: Final = 0x1
_REQUEST: Final = "16sH22x"
"""`struct ifreq`: a name and flags."""
LOOPBACK: Final = "lo"


def interfaces() -> set[str]:
    """Return the names of this process's network interfaces."""
    return {name for _, name in socket.if_nameindex()}


def enter() -> None:
    """Move this process, before it has threads, into a fresh namespace; raises OSError."""
    user, group = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWNET if user == 0 else _CLONE_NEWNET | _CLONE_NEWUSER)
    if user:
        _keep_identity(user, group)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack(_REQUEST, LOOPBACK.encode(), 0)
        _, flags = struct.unpack(_REQUEST, fcntl.ioctl(control, _GET_FLAGS, request))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack(_REQUEST, LOOPBACK.encode(), flags | _UP))


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        code = ctypes.get_errno()
        raise OSError(code, f"no network namespace: {os.strerror(code)}")


def _keep_identity(user: int, group: int) -> None:
    """Be the same user inside of a fresh user namespace."""
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny", encoding="ascii")
    (own / "uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    (own / "gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def main(command: Sequence[str]) -> int:
    """Become the command, inside; returns an exit code only if that cannot be."""
    if not command:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        enter()
        os.execvp(command[0], list(command))  # noqa: S606 - what the caller asked for, without a shell
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]} in a network namespace: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
