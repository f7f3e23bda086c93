"""Globs over the paths of items, as people know them from `.gitignore` and the shell.

`*` and `?` stand for anything but `/`, `[…]` for one of some characters, `**` for any number of
folders. A glob without `/` is about the name alone, at any depth; one that ends with `/` is about
everything below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class Globs:
    """Which items to take: those that `include` names (empty: all), without those of `exclude`."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, path: str) -> bool:
        """Tell whether an item is to be taken."""
        included = not self.include or any(matches(glob, path) for glob in self.include)
        return included and not self.excludes(path)

    def excludes(self, path: str) -> bool:
        """Tell whether an item, or a file with items in it, is left out by name."""
        return any(matches(glob, path) for glob in self.exclude)


def matches(glob: str, path: str) -> bool:
    """Tell whether a path is meant by a glob; the work is bounded by the product of their lengths.

    Both are cut at `/`, so that no star has to be tried across folders.
    """
    parts, names = glob.removeprefix("/").split("/"), path.split("/")
    if "/" not in glob and glob != _ANY_FOLDERS:
        return fnmatchcase(names[-1], glob)
    if parts[-1] in {"", _ANY_FOLDERS}:
        parts[-1:] = [_ANY_FOLDERS, "*"]  # something must be below
    reached = {0}
    for part in parts:
        if part == _ANY_FOLDERS:
            reached = set(range(min(reached, default=len(names) + 1), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and fnmatchcase(names[at], part)}
    return len(names) in reached
