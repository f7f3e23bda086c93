"""A feature, its check, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from lookalike_search.conformance.trial import Trial


class Verdict(StrEnum):
    """How a backend does with a feature."""

    WORKS = "works"
    REFUSED = "refused"
    """By name, with UNSUPPORTED_BY_BACKEND."""
    FAILS = "FAILS"
    """Another error, or a wrong answer."""


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that callers can ask for."""

    name: str
    title: str
    """For people; `docs/backends.md` has it."""
    check: Callable[[Trial], Awaitable[None]]
    """Uses it; raises `WrongAnswerError`, or what the service raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one check."""

    feature: Feature
    verdict: Verdict
    wanted: Verdict
    detail: str = ""
    """What was refused, or went wrong."""

    @property
    def is_well(self) -> bool:
        """Whether the backend does what it is known to do, or more."""
        return self.verdict in {self.wanted, Verdict.WORKS}
