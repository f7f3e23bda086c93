"""Lists the files below a folder, one by one, so that memory does not grow with the folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One entry below a folder that is no plain folder."""

    path: str
    relative: str
    """Below the folder that was asked for, with `/`."""
    size: int
    modified: int
    """When its bytes changed last, in nanoseconds since 1970."""
    kind: str
    """`file`, `link`, `other` (a device, a socket, a pipe) or `unreadable`."""


def walk_folder(folder: str) -> Iterator[FoundFile]:
    """Yield what lies below `folder`, in the file system's own order. Links are not followed."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = os.scandir(Path(folder, below))
        except OSError:
            yield FoundFile(str(Path(folder, below)), below, 0, 0, "unreadable")
            continue
        with entries:
            for entry in entries:
                relative = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{relative}/")
                else:
                    yield _found(entry, relative)


def _found(entry: os.DirEntry[str], relative: str) -> FoundFile:
    path = entry.path
    if entry.is_symlink():
        return FoundFile(path, relative, 0, 0, "link")
    if not entry.is_file(follow_symlinks=False):
        return FoundFile(path, relative, 0, 0, "other")
    try:
        facts = entry.stat(follow_symlinks=False)
    except OSError:
        return FoundFile(path, relative, 0, 0, "unreadable")
    return FoundFile(path, relative, facts.st_size, facts.st_mtime_ns, "file")
