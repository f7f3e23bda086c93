"""What the same models do in-process on one core, without gRPC and without our encoder.

A window of items is tokenised or decoded, sorted by length, and run in batches of the size that
was found best for such windows. Questions (`do`): `search` for that size, `measure` with it, and
`vectors` of the first items, one at a time.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import onnxruntime
import tokenizers

from tests.bench.contents import images, long_texts, texts
from tests.bench.load import percentile
from tests.bench.peers import MODELS
from tests.bench.worker import answer

BATCHES: Final = (1, 2, 4, 8, 16, 32)
HOPELESS: Final = 0.85
"""Larger batches are not tried once one reaches no more than this of the best."""
MOMENT: Final = 0.5
"""Seconds."""
MAX_TOKENS: Final = 256
SIDE: Final = 224

Vectors = NDArray[np.float32]
Run = Callable[[int, int, int], list[Vectors]]
"""First item, items of the window, items of a batch → the batches' vectors."""


class Limits:
    """The models, and the best batch by kind and window."""

    def __init__(self) -> None:
        self._best: dict[tuple[str, int], int] = {}

    def reply(self, question: dict[str, Any]) -> object:
        """Answer one question."""
        kind = str(question["kind"])
        if question["do"] == "vectors":
            return [each[0].tolist() for each in _run_of(kind)(0, int(question["count"]), 1)]
        window, seconds = int(question["window"]), float(question["seconds"])
        if question["do"] == "search":
            tried = min(window, _in_a_moment(kind))
            self._best[kind, window] = _search(kind, tried, seconds)
        batch = self._best[kind, window]
        return _measure(_run_of(kind), window, batch, seconds) | {"batch": batch}


@functools.cache
def _in_a_moment(kind: str) -> int:
    """Return how many items one after the other take a moment: a search needs no more."""
    return max(1, int(_measure(_run_of(kind), 1, 1, MOMENT)["per_second"] * MOMENT))


@functools.cache
def _search(kind: str, window: int, seconds: float) -> int:
    """Return the best batch, each tried twice."""
    rates: dict[int, float] = {}
    for _ in range(2):
        for batch in (each for each in BATCHES if each <= window):
            rate = _measure(_run_of(kind), window, batch, seconds / 2)["per_second"]
            rates[batch] = max(rate, rates.get(batch, 0))
            if rates[batch] < HOPELESS * max(rates.values()):
                break
    return max(rates, key=lambda batch: rates[batch])


def _measure(run: Run, window: int, batch: int, seconds: float) -> dict[str, float]:
    """Run windows for so long, one at least: items a second, and the median time of a window."""
    run(0, batch, batch)
    spent: list[float] = []
    begun = last = time.perf_counter()
    while last - begun < seconds:
        run(len(spent) * window, window, batch)
        now = time.perf_counter()
        spent.append(now - last)
        last = now
    per_second = len(spent) * window / (last - begun)
    return {"per_second": per_second, "p50_ms": percentile(sorted(spent), 0.5)}


@functools.cache
def _run_of(kind: str) -> Run:
    if kind == "effnet":
        return image_run(images())
    return _text(texts(2000) if kind == "minilm_short" else long_texts(200))


@functools.cache
def _session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = MODELS / f"{name}@1" / "model.onnx"
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _text(sentences: Sequence[str]) -> Run:
    session = _session("minilm-l6-v2")
    tokenizer = tokenizers.Tokenizer.from_file(str(MODELS / "minilm-l6-v2@1" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)

    def run(first: int, window: int, batch: int) -> list[Vectors]:
        chosen = [sentences[(first + i) % len(sentences)] for i in range(window)]
        rows = [each.ids for each in tokenizer.encode_batch(chosen)]
        if batch > 1:
            rows.sort(key=len)
        return [_embed(session, rows[begin : begin + batch]) for begin in range(0, window, batch)]

    return run


def _embed(session: onnxruntime.InferenceSession, rows: Sequence[Sequence[int]]) -> Vectors:
    """Pad, run, pool and normalise: float32 [rows, 384]."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    mask = (ids != 0).astype(np.int64)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = session.run(["last_hidden_state"], feed)
    pooled = np.matmul(mask[:, np.newaxis, :].astype(np.float32), hidden)[:, 0, :]
    return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))


def image_run(pictures: Sequence[bytes]) -> Run:
    """Return how to decode and encode JPEG files."""
    session = _session("efficientnet-lite0")
    files = [np.frombuffer(each, np.uint8) for each in pictures]

    def run(first: int, window: int, batch: int) -> list[Vectors]:
        made = []
        for begin in range(0, window, batch):
            count = min(batch, window - begin)
            pixels = [_pixels(files[(first + begin + i) % len(files)]) for i in range(count)]
            (vectors,) = session.run(["features"], {"image": np.stack(pixels)})
            made.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        return made

    return run


def _pixels(file: NDArray[np.uint8]) -> NDArray[Any]:
    """Decode a JPEG file and fit it into a white square: uint8 [224, 224, 3]."""
    picture = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError("not a picture")
    height = round(picture.shape[0] * SIDE / picture.shape[1])
    scaled = cv2.resize(picture, (SIDE, height), interpolation=cv2.INTER_AREA)
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top = (SIDE - height) // 2
    square[top : top + height] = scaled
    return square


if __name__ == "__main__":
    cv2.setNumThreads(1)
    answer(Limits().reply)
