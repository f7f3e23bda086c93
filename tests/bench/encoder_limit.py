"""What the same models do in-process on one core, without gRPC and without our encoder.

Prints one JSON object: for texts and images, items a second by window size, each at the best
batch size, a window being sorted by length first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import onnxruntime
import tokenizers

from tests.bench.bench_encoder import images, texts
from tests.bench.peers import MODELS

WINDOWS = (1, 4, 16, 32, 64)
BATCHES = (1, 2, 4, 8, 16, 32)
SECONDS = 1.0


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    print(json.dumps({"text": _limits(_text()), "image": _limits(_image())}))  # noqa: T201 - result


def _limits(run: Callable[[int, int, int], None]) -> dict[str, float]:
    return {
        str(window): max(_rate(run, window, batch) for batch in BATCHES if batch <= window)
        for window in WINDOWS
    }


def _rate(run: Callable[[int, int, int], None], window: int, batch: int) -> float:
    run(0, window, batch)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        run(done, window, batch)
        done += window
    return done / (time.perf_counter() - begun)


def _session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    (model,) = (MODELS / f"{name}@1").rglob("model.onnx")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _text() -> Callable[[int, int, int], None]:
    session = _session("minilm-l6-v2")
    (file,) = (MODELS / "minilm-l6-v2@1").rglob("tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    sentences = texts(2000)

    def run(first: int, window: int, batch: int) -> None:
        chosen = [sentences[(first + i) % len(sentences)] for i in range(window)]
        tokens = sorted((e.ids for e in tokenizer.encode_batch(chosen)), key=len)
        for begin in range(0, window, batch):
            block = tokens[begin : begin + batch]
            ids = np.zeros((len(block), max(map(len, block))), np.int64)
            for row, each in enumerate(block):
                ids[row, : len(each)] = each
            mask = (ids != 0).astype(np.int64)
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            (hidden,) = session.run(["last_hidden_state"], feed)
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)

    return run


def _image() -> Callable[[int, int, int], None]:
    session = _session("efficientnet-lite0")
    files = [np.frombuffer(each, np.uint8) for each in images()]

    def run(first: int, window: int, batch: int) -> None:
        for begin in range(0, window, batch):
            count = min(batch, window - begin)
            pixels = [_pixels(files[(first + begin + i) % len(files)]) for i in range(count)]
            session.run(None, {"image": np.stack(pixels)})

    return run


def _pixels(file: NDArray[np.uint8]) -> NDArray[Any]:
    """Decode a JPEG file and scale it: uint8 [224, 224, 3]."""
    picture = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError("not a picture")
    return cv2.resize(picture, (224, 224), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
