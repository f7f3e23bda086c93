"""Golden vectors from a caller's own library: `{"cases": [{"text": …, "vector": [0.1, …]}, …]}`.

Each case has `text` or `image`, a path relative to the file, and `vector`, a list of numbers;
`task`, `query` or `document`, where the model prepares them differently, and perhaps a `name`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_encoder.install.errors import InstallError

MIN_CASES = 3
"""With fewer, another pooling could pass."""
_TASKS = ("document", "query")


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the model must make of some contents."""

    cases: tuple[dict[str, str], ...]
    """As golden.json has them."""
    pictures: Mapping[str, bytes]
    """By their path beside golden.json."""
    dimensions: int

    def golden(self) -> str:
        """Return the text of golden.json."""
        return json.dumps({"cases": self.cases}, indent=1, ensure_ascii=False) + "\n"

    def check_tasks(self, preprocessing: Mapping[str, Any]) -> None:
        """Raise InstallError unless each prefix is proved by a case."""
        if preprocessing.get("query_prefix", "") == preprocessing.get("document_prefix", ""):
            return
        for task in _TASKS:
            if all(case["task"] != task for case in self.cases):
                raise InstallError(
                    f"the model prepares questions and documents differently, and no case has the "
                    f'task {task}; add `"task": "{task}"` to some, made with its prefix'
                )


def read_reference(file: Path, kind: str) -> Reference:
    """Read cases of `text` or `image`; raises InstallError saying which is wrong."""
    try:
        cases = json.loads(file.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InstallError(f"{file} is no reference: {error!r}") from error
    if not isinstance(cases, list) or not all(isinstance(each, dict) for each in cases):
        raise InstallError(f"{file} is no reference: cases is not a list of objects")
    if len(cases) < MIN_CASES:
        raise InstallError(f"{file} has {len(cases)} cases; at least {MIN_CASES} are needed")
    vectors = [_read_vector(f"{file}: cases[{at}]", each) for at, each in enumerate(cases)]
    if len({each.shape for each in vectors}) > 1:
        raise InstallError(f"{file}: the vectors are not all of one length")
    if len({each.tobytes() for each in vectors}) < len(vectors):
        raise InstallError(f"{file}: two cases have the same vector; they would prove little")
    pictures: dict[str, bytes] = {}
    read = []
    for at, (case, vector) in enumerate(zip(cases, vectors, strict=True)):
        where = f"{file}: cases[{at}]"
        content = _read_content(where, case, kind)
        if kind == "image":
            picture = _read_picture(where, file.parent, content)
            content = f"golden/{at}{Path(content).suffix}"
            pictures[content] = picture
        read.append(_golden_case(where, case, at, {kind: content}, vector))
    return Reference(tuple(read), pictures, len(vectors[0]))


def _golden_case(
    where: str,
    case: Mapping[str, Any],
    at: int,
    content: Mapping[str, str],
    vector: NDArray[np.float32],
) -> dict[str, str]:
    return {
        "name": str(case.get("name") or f"case {at}"),
        **content,
        "task": _read_task(where, case),
        "vector": base64.b64encode(vector.tobytes()).decode(),
    }


def _read_vector(where: str, case: Mapping[str, Any]) -> NDArray[np.float32]:
    try:
        vector = np.array(case["vector"], "<f4")
    except (KeyError, ValueError, TypeError) as error:
        raise InstallError(f"{where} has no vector: {error!r}") from error
    if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
        raise InstallError(f"{where}: the vector is not a list of finite numbers, or only zeros")
    return vector


def _read_content(where: str, case: Mapping[str, Any], kind: str) -> str:
    content = case.get(kind)
    if not isinstance(content, str) or not content:
        raise InstallError(f"{where} has no {kind}")
    return content


def _read_task(where: str, case: Mapping[str, Any]) -> str:
    task = case.get("task", "document")
    if task not in _TASKS:
        raise InstallError(f"{where}: the task is query or document, not {task!r}")
    return str(task)


def _read_picture(where: str, folder: Path, name: str) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InstallError(f"{where}: {name} does not lie beside the reference")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InstallError(f"{where}: {name} cannot be read: {error.strerror}") from error
