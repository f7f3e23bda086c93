"""Reads models that TensorFlow.js ships as graphs: a JSON file of nodes, and their weights.

Weights follow each other in one binary file, in the order of the manifest in the JSON, perhaps as
half-precision numbers.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]

_DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "|b1"}


class TfjsError(ValueError):
    """The files are no graph model, or one that cannot be read here."""


@dataclass(frozen=True, slots=True)
class TfjsNode:
    """One operation of the graph."""

    name: str
    kind: str
    """TensorFlow's name of the operation."""
    inputs: tuple[str, ...]
    """Names of nodes, with `:1` and so on for further outputs of one."""
    attributes: Mapping[str, Any]

    def integers(self, key: str) -> list[int]:
        """Return a list of whole numbers; raises KeyError."""
        return [int(each) for each in self.attributes[key]["list"].get("i", [])]

    def text(self, key: str) -> str:
        """Return a text; raises KeyError."""
        return base64.b64decode(self.attributes[key]["s"]).decode("ascii")

    def number(self, key: str) -> float:
        """Return a number; raises KeyError."""
        return float(self.attributes[key]["f"])

    def flag(self, key: str) -> bool:
        """Return a flag; false where it is not there."""
        return bool(self.attributes.get(key, {}).get("b", False))


@dataclass(frozen=True, slots=True)
class TfjsModel:
    """A graph and its weights, which are the nodes of the kind Const."""

    nodes: Mapping[str, TfjsNode]
    weights: Mapping[str, Tensor]


def read_tfjs(graph: bytes, weights: bytes) -> TfjsModel:
    """Read a graph model of one weights file; raises TfjsError."""
    try:
        content = json.loads(graph)
        nodes = [_read_node(each) for each in content["modelTopology"]["node"]]
        arrays = dict(_read_weights(content["weightsManifest"], weights))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise TfjsError(f"the graph model cannot be read: {error!r}") from error
    return TfjsModel({node.name: node for node in nodes}, arrays)


def _read_node(node: Mapping[str, Any]) -> TfjsNode:
    inputs = (each.removesuffix(":0") for each in node.get("input", []))
    data = tuple(each for each in inputs if not each.startswith("^"))  # those only order
    return TfjsNode(node["name"], node["op"], data, node.get("attr", {}))


def _read_weights(manifest: list[Any], data: bytes) -> Iterator[tuple[str, Tensor]]:
    offset = 0
    for group in manifest:
        for entry in group["weights"]:
            array, offset = _read_weight(entry, data, offset)
            yield entry["name"], array
    if offset != len(data):
        raise TfjsError(f"the weights are {len(data)} bytes; the graph describes {offset}")


def _read_weight(entry: Mapping[str, Any], data: bytes, offset: int) -> tuple[Tensor, int]:
    """Read one array and say where the next one begins."""
    stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
    if stored not in _DTYPES or (stored != entry["dtype"] and stored != "float16"):
        raise TfjsError(f"weights stored as {stored} cannot be read here")
    count = math.prod(entry["shape"])
    array = np.frombuffer(data, _DTYPES[stored], count, offset)
    end = offset + array.nbytes
    return array.astype(_DTYPES[entry["dtype"]]).reshape(entry["shape"]), end
