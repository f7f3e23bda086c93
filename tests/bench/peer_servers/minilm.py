"""The text model for other servers, as plain as their users would write it: one batch, one run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import onnxruntime
import tokenizers
from numpy.typing import NDArray

MAX_TOKENS = 256


class MiniLm:
    """The model and its tokenizer, from the folder that BENCH_MODEL names."""

    def __init__(self) -> None:
        folder = os.environ["BENCH_MODEL"]
        self._tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
        self._tokenizer.enable_padding()  # its file pads everything to 128 tokens
        self._tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a unit vector for each text: float32 [texts, 384]."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([each.ids for each in encodings], np.int64)
        mask = np.array([each.attention_mask for each in encodings], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], feed)
        pooled = np.matmul(mask[:, np.newaxis, :].astype(np.float32), hidden)[:, 0, :]
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), np.float32)
