"""Models through ONNX Runtime, on CUDA where there is one and on the processor otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.session import TensorSpec

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it loads

import onnxruntime

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(string)": "object",
}


@dataclass(frozen=True, slots=True)
class OrtOptions:
    """How models run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where it works."""
    require_gpu: bool = False
    """Refuse to run on the processor, rather than be slow unnoticed."""
    threads: int = 0
    """Threads of one model on the processor; 0: one for each core."""
    spinning: bool = False
    """Let idle threads spin: a lone request is faster, everything beside it slower."""
    arena: bool = True
    """Keep freed memory for the next run. It stays as large as the largest run, which budgets
    bound: 8 MB more for the text encoder than without, and a lone picture is 5 % faster."""


class OrtSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, model: Path, options: OrtOptions) -> None:
        """Load a model; raises EncoderNotReadyError, also if it does not run where it must."""
        wants_cuda = options.require_gpu or options.device == "cuda"
        providers = _providers(options)
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), _session_options(options), providers=providers
            )
        except Exception as error:  # its exceptions share no base class
            raise EncoderNotReadyError(f"ONNX Runtime cannot load {model}: {error}") from error
        # It falls back to the processor with no more than a log line, so ask what it did.
        self._uses_cuda = self._session.get_providers()[0] == _CUDA
        if wants_cuda and not self._uses_cuda:
            raise EncoderNotReadyError(
                f"{model.parent.name} must run on a GPU but ONNX Runtime offers "
                f"{', '.join(self._session.get_providers())} only"
            )

    @property
    def device(self) -> str:
        """Where it runs."""
        return "cuda:0" if self._uses_cuda else "cpu"

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What it takes, by name."""
        return _specs(self._session.get_inputs())

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What it returns, by name."""
        return _specs(self._session.get_outputs())

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        """Run the model on a batch and return some of its outputs, in the order asked for."""
        results = self._session.run(list(outputs), dict(inputs))
        return tuple(np.asarray(each) for each in results)


def _providers(options: OrtOptions) -> list[str | tuple[str, dict[str, str]]]:
    if options.device == "cpu" or _CUDA not in onnxruntime.get_available_providers():
        return [_CPU]
    onnxruntime.preload_dlls()  # of the CUDA wheels, which lie on no library path
    return [(_CUDA, {"device_id": "0", "arena_extend_strategy": "kSameAsRequested"}), _CPU]


def _session_options(options: OrtOptions) -> onnxruntime.SessionOptions:
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    session.enable_cpu_mem_arena = options.arena
    spinning = "1" if options.spinning else "0"
    session.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    session.log_severity_level = 3
    return session


def _specs(arguments: Iterable[onnxruntime.NodeArg]) -> dict[str, TensorSpec]:
    return {
        each.name: TensorSpec(
            _DTYPES.get(each.type, each.type.removeprefix("tensor(").removesuffix(")")),
            tuple(size if isinstance(size, int) else None for size in each.shape),
        )
        for each in arguments
    }
