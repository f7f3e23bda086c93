"""Models of any make: which input and output is which, and batches of the size a model insists on.

Exporters name the same things differently and fix sizes as they please. Encoders ask here for what
they need, and models that cannot give it are refused when they are loaded, not when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_encoder.manifest import Manifest, ManifestError, Pooling
from lookalike_encoder.session import InferenceSession, TensorSpec

_BY_POOLING = {
    2: (
        "sentence_embedding",
        "text_embeds",
        "image_embeds",
        "features",
        "embeddings",
        "embedding",
        "pooler_output",
    ),
    3: ("last_hidden_state", "token_embeddings", "hidden_states"),
}
"""What exporters call an output of one vector a row (2), or of one a token (3); best first."""


class Graph:
    """A session that takes any number of rows, also if its model takes a fixed one."""

    def __init__(self, session: InferenceSession) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._session = session
        self._fixed = next((each.shape[0] for each in self.inputs.values() if each.shape), None)

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._session.device

    def run(self, inputs: Mapping[str, NDArray[Any]], output: str) -> NDArray[np.float32]:
        """Run rows and return one output: float32 [rows, …]. Missing rows repeat the last one."""
        if self._fixed is None:
            return self._run_once(inputs, output)
        parts = [self._run_once(each, output) for each in _split(inputs, self._fixed)]
        rows = len(next(iter(inputs.values())))
        return np.concatenate(parts)[:rows]

    def _run_once(self, inputs: Mapping[str, NDArray[Any]], output: str) -> NDArray[np.float32]:
        (made,) = self._session.run(inputs, [output])
        return made.astype(np.float32, copy=False)


def find_input(graph: Graph, named: str, known: Sequence[str]) -> str:
    """Return the input that a manifest names, or else the one with a known name, or the only one.

    Raises ManifestError.
    """
    return _find("input", graph.inputs, named, known)


def find_output(graph: Graph, manifest: Manifest, named: str) -> str:
    """Return the output that is pooled: the one a manifest names, or what fits its pooling.

    Raises ManifestError if there is none, or if its vectors are of another size than the manifest
    says.
    """
    rank = 2 if manifest.pooling is Pooling.NONE else 3
    fitting = {name: spec for name, spec in graph.outputs.items() if len(spec.shape) in {0, rank}}
    if not named and not fitting:
        shapes = ", ".join(f"{name} {list(spec.shape)}" for name, spec in graph.outputs.items())
        raise ManifestError(
            f"pooling {manifest.pooling.value} needs an output of {rank} axes; there is {shapes}"
        )
    output = _find("output", graph.outputs if named else fitting, named, _BY_POOLING[rank])
    _check_output(output, graph.outputs[output], manifest, rank)
    return output


def _check_output(name: str, spec: TensorSpec, manifest: Manifest, rank: int) -> None:
    if not spec.shape:
        return
    if len(spec.shape) != rank:
        raise ManifestError(
            f"pooling {manifest.pooling.value} needs an output of {rank} axes; {name} has "
            f"{len(spec.shape)}"
        )
    if manifest.dimensions and spec.shape[-1] not in {None, manifest.dimensions}:
        raise ManifestError(
            f"the model's output {name} has {spec.shape[-1]} dimensions; the manifest says "
            f"{manifest.dimensions}"
        )


def _find(what: str, there: Mapping[str, TensorSpec], named: str, known: Sequence[str]) -> str:
    if named:
        if named not in there:
            raise ManifestError(f"the model has no {what} {named!r}; it has {_names(there)}")
        return named
    for name in known:
        if name in there:
            return name
    if len(there) == 1:
        return next(iter(there))
    raise ManifestError(
        f"the manifest must name its {what} under preprocessing; the model has {_names(there)}"
    )


def _names(there: Mapping[str, TensorSpec]) -> str:
    return ", ".join(sorted(there)) or "none"


def _split(inputs: Mapping[str, NDArray[Any]], size: int) -> Iterator[Mapping[str, NDArray[Any]]]:
    rows = len(next(iter(inputs.values())))
    for start in range(0, rows, size):
        chosen = np.minimum(np.arange(start, start + size), rows - 1)
        yield {name: values[chosen] for name, values in inputs.items()}
