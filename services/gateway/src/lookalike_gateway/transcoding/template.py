"""Path templates of google.api.http: `/v1/{name=collections/*}:search`.

A template is matched against the path as it came, still percent-encoded, so that an encoded slash
is never taken for a separator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

_PARTS: Final = re.compile(
    r"\{(?P<field>[a-z][a-z0-9_.]*)(=(?P<inner>[^{}]+))?\}|(?P<literal>[^/{}]+)"
)
_SINGLE: Final = "*"
_REST: Final = "**"


@dataclass(frozen=True, slots=True)
class Variable:
    """A part of the path that is the value of a field."""

    field: str
    """Path of the field in the request message, such as `collection.name`."""
    segments: tuple[str, ...]
    """What it matches: literals, `*` and, at the end, `**`."""


@dataclass(frozen=True)
class PathTemplate:
    """A parsed template."""

    text: str
    segments: tuple[str | Variable, ...]
    verb: str
    """What comes after the colon; often empty."""
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> PathTemplate:
        """Parse a template; ValueError when it is none."""
        path, verb = _split_verb(text)
        if not path.startswith("/"):
            raise ValueError(f"{text!r} does not begin with a slash")
        segments = tuple(_segments(path[1:], text))
        pattern = "/" + "/".join(_pattern(index, each) for index, each in enumerate(segments))
        suffix = f":{re.escape(verb)}" if verb else ""
        return cls(text, segments, verb, re.compile(pattern + suffix))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, from left to right."""
        return tuple(each for each in self.segments if isinstance(each, Variable))

    @property
    def specificity(self) -> tuple[bool, int]:
        """Greater for templates that must be tried first."""
        literals = sum(part not in {_SINGLE, _REST} for part in self.flattened())
        return bool(self.verb), literals

    def flattened(self) -> list[str]:
        """Return the segments with those of the variables in their places."""
        parts: list[str] = []
        for each in self.segments:
            parts.extend(each.segments if isinstance(each, Variable) else (each,))
        return parts

    def match(self, raw_path: str) -> dict[str, str] | None:
        """Return the values of the variables by field; None when the path is another one."""
        found = self.pattern.fullmatch(raw_path)
        if found is None:
            return None
        values = found.groupdict()
        return {
            each.field: _decoded(values[_group(index)])
            for index, each in enumerate(self.segments)
            if isinstance(each, Variable)
        }


def _split_verb(text: str) -> tuple[str, str]:
    head, colon, verb = text.rpartition(":")
    return (head, verb) if colon and "/" not in verb and "}" not in verb else (text, "")


def _segments(path: str, text: str) -> list[str | Variable]:
    segments: list[str | Variable] = []
    position = 0
    while position <= len(path):
        found = _PARTS.match(path, position)
        if found is None:
            raise ValueError(f"{text!r} is no path template")
        if found["literal"] is not None:
            segments.append(found["literal"])
        else:
            inner = (found["inner"] or _SINGLE).split("/")
            segments.append(Variable(found["field"], tuple(inner)))
        position = found.end() + 1
        if found.end() < len(path) and path[found.end()] != "/":
            raise ValueError(f"{text!r} is no path template")
    return segments


def _pattern(index: int, segment: str | Variable) -> str:
    if isinstance(segment, str):
        return _segment_pattern(segment)
    inner = "/".join(_segment_pattern(each) for each in segment.segments)
    return f"(?P<{_group(index)}>{inner})"


def _segment_pattern(segment: str) -> str:
    if segment == _SINGLE:
        return "[^/]+"
    return ".+" if segment == _REST else re.escape(segment)


def _group(index: int) -> str:
    return f"v{index}"


def _decoded(value: str) -> str:
    """Decode a value; a slash that came encoded stays so. UnicodeDecodeError when not UTF-8."""
    segments = (unquote(each, errors="strict") for each in value.split("/"))
    return "/".join(each.replace("/", "%2F") for each in segments)
