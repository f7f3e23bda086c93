"""What encoders get from this process: ONNX Runtime, tokenizers, threads."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from lookalike_encoder.adapters.fast_tokenizer import FastTokenizer
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession
from lookalike_encoder.structure import Chemistry


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

    def open_chemistry(self) -> Chemistry:
        """Load the toolkit for molecules, which takes 0.1 s and 30 MB: only where it is used."""
        from lookalike_encoder.adapters.rdkit_chemistry import (  # noqa: PLC0415 - see above
            RdkitChemistry,
        )

        return RdkitChemistry()
