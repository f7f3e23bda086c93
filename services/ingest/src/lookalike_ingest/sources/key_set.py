"""Which keys came already, however many there are: what tells a second record of a name."""

from contextlib import AbstractContextManager
from typing import Protocol


class KeySet(Protocol):
    """Keys that were added. Blocks."""

    def add(self, key: str) -> bool:
        """Add a key; return whether it is a new one."""


class OpenKeySet(Protocol):
    """Makes empty sets of keys."""

    def __call__(self) -> AbstractContextManager[KeySet]:
        """Return one that is forgotten when its context ends."""
