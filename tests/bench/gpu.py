"""What a GPU makes of the encoders, in single and in half precision: the right vectors, how fast,
and where the time goes.

Ends with 3 where there is no NVIDIA GPU, and with 1 if vectors differ from those of the CPU. Run it
by `make bench-gpu WHEELS=…`. `--device cpu` runs the same code without a GPU, to test it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.adapters.local_runtime import LocalRuntime
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession
from lookalike_encoder.catalogue import discover
from lookalike_encoder.content import ImageContent, Item, TextContent
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.install.installer import Installer
from lookalike_encoder.install.store import ModelStore
from lookalike_encoder.loading import EncoderLoader
from lookalike_encoder.precision import Precision
from tests.contract.rpc_tables.encoder import photo

MODELS: Final = Path(__file__).parents[2] / ".lookalike" / "models"
MIN_COSINE: Final = 0.999
_WORDS: Final = ("quick", "brown", "foxes", "jump", "over", "lazy", "dogs", "for", "hours")
_SAMPLES: Final[dict[str, Callable[[int], Item]]] = {
    "minilm-l6-v2": lambda n: Item(TextContent(" ".join(_WORDS[n % 5 :]) + f" {n}")),
    "efficientnet-lite0": lambda n: Item(ImageContent(photo(n))),
}


class Recorder(LocalRuntime):
    """Remembers the last model, and what it was given."""

    model = Path()
    inputs: Mapping[str, NDArray[Any]]
    outputs: Sequence[str]

    def open_session(self, model: Path) -> OrtSession:
        """Load a model whose calls are recorded."""
        self.model = model
        return _RecordedSession(model, self._options, self)


class _RecordedSession(OrtSession):
    def __init__(self, model: Path, options: OrtOptions, recorder: Recorder) -> None:
        super().__init__(model, options)
        self._recorder = recorder

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        """Run the model, and remember with what."""
        self._recorder.inputs, self._recorder.outputs = inputs, outputs
        return super().run(inputs, outputs)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    options = parser.parse_args(argv)
    hardware = _hardware(options.device)
    if not hardware:
        _say("no NVIDIA GPU: nvidia-smi names none, or this ONNX Runtime has no CUDA")
        return 3
    with ThreadPoolExecutor(4) as threads, tempfile.TemporaryDirectory() as folder:
        store = _with_variants(ModelStore(Path(folder)))
        figures = {name: _measure_both(name, store, options, threads) for name in _SAMPLES}
    _say(json.dumps({"hardware": hardware, "device": options.device, "encoders": figures}))
    cosines = [each["min_cosine"] for both in figures.values() for each in both.values()]
    return 0 if min(cosines) >= MIN_COSINE else 1


def _with_variants(store: ModelStore) -> ModelStore:
    """Fill a store with the installed models, and make their variants there."""
    installer = Installer(
        store,
        prove=lambda *_: None,  # that is what is measured
        report=_say,
        variants=lambda _: (Precision.FP16.value,),
    )
    for name in _SAMPLES:
        manifest = discover().find(name)
        source = MODELS / manifest.versioned_name
        shutil.copytree(source, store.locate(manifest), copy_function=os.symlink)
        installer.install(manifest)
    return store


def _measure_both(
    name: str, store: ModelStore, options: argparse.Namespace, threads: Executor
) -> dict[str, Any]:
    """Measure an encoder in single and in half precision; one that is refused has no cosine."""
    figures: dict[str, Any] = {}
    for precision in (Precision.FP32, Precision.FP16):
        try:
            figures[precision.value] = _measure(name, precision, store, options, threads)
        except EncoderNotReadyError as error:
            figures[precision.value] = {"min_cosine": 0.0, "refused": error.message}
            _say(f"{name} {precision.value}: {error.message}")
    return figures


def _hardware(device: str) -> str:
    """Name what models run on, or nothing if it is not there."""
    if device == "cpu":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((each.partition(": ")[2] for each in lines if "model name" in each), "a CPU")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ""
    command = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    try:
        named = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return named.strip().splitlines()[0] if named.strip() else ""


def _measure(
    name: str,
    precision: Precision,
    store: ModelStore,
    options: argparse.Namespace,
    threads: Executor,
) -> dict[str, Any]:
    """Compare one encoder with the CPU and with a bare session, by batch size."""
    device = OrtOptions(device=options.device, require_gpu=options.device == "cuda")
    runtime = Recorder(device, threads)
    tested = _load(name, precision, store, runtime)
    processor = LocalRuntime(OrtOptions(device="cpu"), threads)
    reference = _load(name, Precision.FP32, store, processor)
    rows = _rows(tested, name, max(options.batches))
    by_batch = {}
    for count in options.batches:
        rate = _rate(functools.partial(tested.encode, rows[:count]), options.seconds)
        bare, copying = _bare(runtime, options)
        by_batch[str(count)] = {
            "items_per_second": round(rate * count, 1),
            "ratio_to_bare": round(rate / bare, 3),
            "copy_share": round(copying, 3),
        }
        _say(f"{name} {precision.value} x {count}: {by_batch[str(count)]}")
    some = rows[:32]
    pairs = zip(tested.encode(some), reference.encode(some), strict=True)
    return {"min_cosine": round(min(_cosine(*pair) for pair in pairs), 6), "batches": by_batch}


def _load(name: str, precision: Precision, store: ModelStore, runtime: LocalRuntime) -> Encoder:
    catalogue = discover()
    return EncoderLoader(catalogue, store, runtime, precision=precision).load(catalogue.find(name))


def _rows(encoder: Encoder, name: str, count: int) -> list[Row]:
    prepared = encoder.prepare([_SAMPLES[name](each) for each in range(count)])
    return [row for each in prepared if isinstance(each, Prepared) for row in each.rows]


def _bare(runtime: Recorder, options: argparse.Namespace) -> tuple[float, float]:
    """Return runs per second of a bare session on the last inputs, and the share of copying."""
    kind = options.device
    provider = "CUDAExecutionProvider" if kind == "cuda" else "CPUExecutionProvider"
    how = onnxruntime.SessionOptions()
    how.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as ours
    session = onnxruntime.InferenceSession(str(runtime.model), how, providers=[provider])
    inputs, outputs = dict(runtime.inputs), list(runtime.outputs)
    rate = _rate(lambda: session.run(outputs, inputs), options.seconds)
    binding = session.io_binding()
    spent = np.zeros(3)
    for _ in range(20):
        marks = [time.perf_counter()]
        for key, value in inputs.items():
            there = onnxruntime.OrtValue.ortvalue_from_numpy(value, kind, 0)
            binding.bind_ortvalue_input(key, there)
        marks.append(time.perf_counter())
        for key in outputs:
            binding.bind_output(key, kind, 0)
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        marks.append(time.perf_counter())
        for each in binding.get_outputs():
            each.numpy()
        marks.append(time.perf_counter())
        spent += np.diff(marks)
    return rate, float((spent[0] + spent[2]) / spent.sum())


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second it can be done."""
    work()
    started, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or not count:
        work()
        count += 1
    return count / spent


def _cosine(left: NDArray[Any], right: NDArray[Any]) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
