"""A model that can be watched, held up and made to fail, instead of a real one."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

import lookalike_encoder
from lookalike_common.errors import InvalidContentError, LookalikeError
from lookalike_encoder.batching import Batcher, BatchMetrics, Capacity
from lookalike_encoder.content import Item, Operation, TextContent
from lookalike_encoder.encoder import Prepared, Row
from lookalike_encoder.manifest import Budget, Manifest

DIMENSIONS = 8


def fake_manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": "fake",
        "version": "1",
        "description": "A fake.",
        "encoder": "fake",
        "modalities": ["text"],
        "space": "fake@1",
        "dimensions": DIMENSIONS,
        "metric": "cosine",
        "license": "Apache-2.0",
        "files": {"model": {"path": "model.onnx", "sha256": "0" * 64}},
        "preprocessing": {},
        "pooling": "none",
        "normalisation": "none",
        "limits": {"max_items": 1024, "preferred_items": 32, "max_bytes": 1000},
        "batching": {"cpu": {"max_rows": 4, "max_work": 64, "epoch_work": 64}},
    }
    return Manifest.model_validate({**fields, **changes})


class FakeEncoder:
    """Makes a vector that only its own text can have.

    `bad…` cannot be prepared, `crash…` fails whoever is prepared with it, `poison…` fails any run
    that it is in, `nan…` makes no number, and `a|b|c` has three rows. To rerank, a row has as many
    vectors as it has letters. `gate` lets one run through for each permit.
    """

    def __init__(self, *, prefetches: bool = False, gated: bool = False) -> None:
        self.manifest = fake_manifest()
        self.device = "cpu"
        self.operations = frozenset({Operation.ENCODE, Operation.RERANK})
        self.labels = ()
        self.prefetches = prefetches
        self.gate = threading.Semaphore(0 if gated else 1_000_000)
        self.runs: list[list[str]] = []
        self.prepared: list[list[str]] = []
        self.started = threading.Semaphore(0)

    def estimate(self, item: Item) -> int:
        return max(1, len(text_of(item)))

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        self.prepared.append([text_of(item) for item in items])
        if any(text_of(item).startswith("crash") for item in items):
            raise RuntimeError("crashed")
        return [_prepare(text_of(item), item.operation) for item in items]

    def encode(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        texts = [row.data.tobytes().decode() for row in rows]
        self.runs.append(texts)
        self.started.release()
        assert self.gate.acquire(timeout=30)
        if any(text.startswith("poison") for text in texts):
            raise RuntimeError("poisoned")
        return [result_of(text, row.operation) for text, row in zip(texts, rows, strict=True)]

    def wait_for_run(self) -> None:
        """Block until another run has begun."""
        assert self.started.acquire(timeout=30)


def _prepare(text: str, operation: Operation) -> Prepared | LookalikeError:
    if text.startswith("bad"):
        return InvalidContentError("bad", field="content")
    parts = [part.encode() for part in text.split("|")]
    return Prepared(
        tuple(Row(max(1, len(each)), np.frombuffer(each, np.uint8), operation) for each in parts)
    )


def text_of(item: Item) -> str:
    assert isinstance(item.content, TextContent)
    return item.content.text


def vector_of(text: str) -> NDArray[np.float32]:
    digest = hashlib.sha256(text.encode()).digest()
    vector = np.frombuffer(digest, np.uint8).astype(np.float32)[:DIMENSIONS]
    return np.full_like(vector, np.nan) if text.startswith("nan") else vector


def result_of(text: str, operation: Operation) -> NDArray[np.float32]:
    vector = vector_of(text)
    return vector if operation is Operation.ENCODE else np.tile(vector, (len(text), 1))


def expected_vectors(text: str, operation: Operation = Operation.ENCODE) -> NDArray[np.float32]:
    return np.stack([result_of(part, operation) for part in text.split("|")])


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    return fake_manifest


@pytest.fixture
def make_encoder() -> type[FakeEncoder]:
    return FakeEncoder


@pytest.fixture
def vectors_of() -> Callable[[str], NDArray[np.float32]]:
    return expected_vectors


@pytest.fixture
def make_batcher() -> Callable[..., Batcher]:
    def make(encoder: FakeEncoder, capacity: Capacity | None = None, **options: Any) -> Batcher:
        budget: Budget = encoder.manifest.budget("cpu")
        metrics = options.pop("metrics", None) or BatchMetrics(CollectorRegistry())
        return Batcher(encoder, budget, capacity or Capacity(), metrics, **options)

    return make


@pytest.fixture
def models_folder() -> Path:
    return Path(lookalike_encoder.__file__).parent / "models"
