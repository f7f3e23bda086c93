"""What encoders get from this process: ONNX Runtime, tokenizers, threads."""

from __future__ import annotations

import hashlib
import mmap
import threading
import weakref
from concurrent.futures import Executor
from pathlib import Path

from lookalike_encoder.adapters.fast_tokenizer import FastTokenizer
from lookalike_encoder.adapters.ort_session import OrtOptions, OrtSession, device_kind
from lookalike_encoder.structure import Chemistry


class LocalRuntime:
    """Opens models and tokenizers from files; the threads belong to whoever makes it."""

    def __init__(self, options: OrtOptions, threads: Executor) -> None:
        self._options = options
        self.device = device_kind(options)
        self.threads = threads
        self._opened: weakref.WeakValueDictionary[str, OrtSession] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def open_session(self, model: Path) -> OrtSession:
        """Load a model, or share it with encoders that have the same; raises EncoderNotReadyError.

        It leaves memory with the last encoder that uses it.
        """
        key = _content_key(model)
        with self._lock:
            session = self._opened.get(key) if key else None
            if session is None:
                session = OrtSession(model, self._options)
                if key:
                    self._opened[key] = session
        return session

    def open_tokenizer(self, file: Path, max_tokens: int) -> FastTokenizer:
        """Load a tokenizer; raises EncoderNotReadyError."""
        return FastTokenizer(file, max_tokens)

    def open_chemistry(self) -> Chemistry:
        """Load the toolkit for molecules, which takes 0.1 s and 30 MB: only where it is used."""
        from lookalike_encoder.adapters.rdkit_chemistry import (  # noqa: PLC0415 - see above
            RdkitChemistry,
        )

        return RdkitChemistry()


def _content_key(model: Path) -> str:
    """Return a hash of a model, or nothing if it cannot be told apart by its own file alone.

    Weights outside the file are found by the entry `location`; such a model is not shared.
    """
    try:
        with (
            model.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            outside = content.find(b"location") >= 0
            return "" if outside else hashlib.sha256(content).hexdigest()
    except (OSError, ValueError):  # ONNX Runtime says what is wrong with it
        return ""
