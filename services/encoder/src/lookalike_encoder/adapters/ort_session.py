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
_SMOOTHING = 0.1
_MUCH_MORE = 4
"""Shrinking after every run would make a lone picture 10 % slower."""
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
    """Keep freed memory for the next run, until a run much smaller than the largest: a lone
    picture is 5 % faster."""


class OrtSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, model: Path, options: OrtOptions, *, bind_to: str = "") -> None:
        """Load a model; raises EncoderNotReadyError, also if it does not run where it must.

        On CUDA, inputs and outputs are bound to the device's memory; `bind_to` does so elsewhere,
        for tests of that path.
        """
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
        self._bound_to = "cuda" if self._uses_cuda else bind_to
        self._shrinking = onnxruntime.RunOptions()
        arenas = "cpu:0;gpu:0" if self._uses_cuda else "cpu:0"
        if options.arena:
            self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
        self._usual, self._peak = 0.0, 0
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
        options = self._run_options(sum(each.nbytes for each in inputs.values()))
        if self._bound_to:
            return self._run_bound(inputs, outputs, options)
        results = self._session.run(list(outputs), dict(inputs), options)
        return tuple(np.asarray(each) for each in results)

    def _run_bound(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        options: onnxruntime.RunOptions | None,
    ) -> tuple[NDArray[Any], ...]:
        """Copy inputs to the device and back only what was asked for, once each."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            if value.dtype == object:  # strings live in the processor's memory only
                binding.bind_cpu_input(name, value)
            else:
                there = onnxruntime.OrtValue.ortvalue_from_numpy(
                    np.ascontiguousarray(value), self._bound_to, 0
                )
                binding.bind_ortvalue_input(name, there)
        for name in outputs:
            binding.bind_output(name, self._bound_to, 0)
        self._session.run_with_iobinding(binding, options)
        return tuple(each.numpy() for each in binding.get_outputs())

    def _run_options(self, size: int) -> onnxruntime.RunOptions | None:
        """Have memory given back at the end of this run if it holds much more than is usual."""
        self._usual += (size - self._usual) * (_SMOOTHING if self._usual else 1)
        self._peak = max(self._peak, size)
        if self._peak <= _MUCH_MORE * self._usual:
            return None
        self._peak = 0
        return self._shrinking


def device_kind(options: OrtOptions) -> Literal["cpu", "cuda"]:
    """Return what models will run on if it works; a session's `device` says what came of it."""
    if options.device == "cpu" or _CUDA not in onnxruntime.get_available_providers():
        return "cpu"
    return "cuda"


def _providers(options: OrtOptions) -> list[str | tuple[str, dict[str, str]]]:
    if device_kind(options) == "cpu":
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
