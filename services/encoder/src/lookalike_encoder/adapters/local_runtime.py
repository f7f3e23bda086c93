"""What encoders get from this process: ONNX Runtime, tokenizers, threads."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from lookalike_encoder.adapters.fast_tokenizer import FastTokenizer
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession


class LocalRuntime:
    """Opens models and tokenizers from files; the threads belong to whoever makes it."""

    def __init__(self, options: OrtOptions, threads: Executor) -> None:
        self._options = options
        self.threads = threads

    def open_session(self, model: Path) -> OrtSession:
        """Load a model; raises EncoderNotReadyError."""
        return OrtSession(model, self._options)

    def open_tokenizer(self, file: Path, max_tokens: int) -> FastTokenizer:
        """Load a tokenizer; raises EncoderNotReadyError."""
        return FastTokenizer(file, max_tokens)
