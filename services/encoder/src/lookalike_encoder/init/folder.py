"""The folder of an export: reads what lies in it and nothing beyond."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from lookalike_encoder.install.errors import InstallError

_MODELS = ("model.onnx", "onnx/model.onnx")
_EXTERNAL = 1  # TensorProto.EXTERNAL


class Module(BaseModel):
    """One step of a sentence-transformers model."""

    type: str
    """Its class."""
    path: str
    """Its folder in the export."""


_Modules = TypeAdapter(list[Module])


class ExportFolder:
    """Files of one exported model."""

    def __init__(self, folder: Path) -> None:
        """Raise InstallError if it is no folder."""
        if not folder.is_dir():
            raise InstallError(f"{folder} is no folder")
        self.folder = folder.resolve()

    def has(self, name: str) -> bool:
        """Whether there is such a file; raises InstallError if it lies outside."""
        return self.path(name).is_file()

    def path(self, name: str) -> Path:
        """Return where a file is; raises InstallError if that is not in the folder."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise InstallError(
                f"{name} lies outside {self.folder}; if it is a link, copy the export with `cp -rL`"
            )
        return path

    def read_json(self, name: str) -> dict[str, Any]:  # of whatever shape the exporter chose
        """Return a JSON file's object, empty where there is no such file; raises InstallError."""
        if not self.has(name):
            return {}
        found = self._parse(name)
        if not isinstance(found, dict):
            raise InstallError(f"{name} is no JSON object")
        return found

    def read_modules(self) -> list[Module]:
        """Return the steps of a sentence-transformers model, none if it is not one."""
        if not self.has("modules.json"):
            return []
        found = self._parse("modules.json")
        try:
            return _Modules.validate_python(found)
        except ValidationError:
            raise InstallError("modules.json is not a list of modules") from None

    def read_license(self) -> str:
        """Return the licence in the front matter of README.md, or nothing."""
        if not self.has("README.md"):
            return ""
        parts = self.path("README.md").read_text("utf-8", errors="replace").split("---\n")
        try:
            matter = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else {}
        except yaml.YAMLError:
            return ""
        return str(matter.get("license") or "") if isinstance(matter, dict) else ""

    def find_model(self, named: str) -> str:
        """Return the model's path in the folder; raises InstallError where that is not clear."""
        if named:
            if not self.has(named):
                raise InstallError(f"there is no {named} in {self.folder}")
            return named
        for name in _MODELS:
            if self.has(name):
                return name
        found = sorted(
            path.relative_to(self.folder).as_posix()
            for pattern in ("*.onnx", "onnx/*.onnx")
            for path in self.folder.glob(pattern)
        )
        if len(found) != 1:
            raise InstallError(
                f"name the model with --model; {self.folder} has {', '.join(found) or 'no .onnx'}"
            )
        return found[0]

    def files(self, model: str, *, tokenizer: bool) -> dict[str, Path]:
        """Return the files that the encoder needs, by role; raises InstallError if one is missing.

        Weights outside the model's file keep their names, by which it finds them.
        """
        path = self.path(model)
        files = {"model": path}
        for index, location in enumerate(sorted(external_files(path))):
            if Path(location).name != location or location.startswith("."):
                raise InstallError(f"{model} wants weights from {location!r}, not from beside it")
            weights = self.path((Path(model).parent / location).as_posix())
            if not weights.is_file():
                raise InstallError(f"{model} wants {location}, which is not beside it")
            files[f"weights-{index + 1}"] = weights
        if tokenizer:
            if not self.has("tokenizer.json"):
                raise InstallError(
                    f"{self.folder} has no tokenizer.json; save the fast tokenizer there"
                )
            files["tokenizer"] = self.path("tokenizer.json")
        return files

    def _parse(self, name: str) -> object:
        try:
            return json.loads(self.path(name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InstallError(f"{name} is no JSON: {error}") from error


def external_files(model: Path) -> set[str]:
    """Return the names of files that hold weights of an ONNX model; raises InstallError."""
    try:
        import onnx  # noqa: PLC0415 - of the extra `install`, which serving does without
    except ImportError as error:
        raise InstallError("this needs lookalike-encoder[install]") from error
    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except Exception as error:  # protobuf's and onnx's share no base class
        raise InstallError(f"{model} is no ONNX model: {error}") from error
    return {
        entry.value
        for tensor in _tensors(graph)
        if tensor.data_location == _EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _tensors(graph: Any) -> Iterator[Any]:  # noqa: ANN401 - messages of onnx, an extra
    """Yield all tensors of a graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def pick(found: Mapping[str, Any], *names: str) -> str:
    """Return the first value that is there and not null, or nothing."""
    return next((str(found[name]) for name in names if found.get(name) is not None), "")
