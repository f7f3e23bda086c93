"""What tests can do to a Milvus that is a child process of theirs, of either kind."""

from __future__ import annotations

from typing import Protocol, Self


class MilvusProcess(Protocol):
    """`MilvusLite` or `MilvusServer`; what it stores survives `kill` and `start` again."""

    @property
    def uri(self) -> str:
        """Where it listens; the same after a restart."""
        ...

    @property
    def log(self) -> str:
        """What it printed so far."""
        ...

    def start(self) -> None:
        """Start it and wait until it serves."""
        ...

    def kill(self) -> None:
        """End it without goodbye."""
        ...

    def stop(self) -> None:
        """End it politely."""
        ...

    def suspend(self) -> None:
        """Let it stand still, with its connections open."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_raised: object) -> None: ...
