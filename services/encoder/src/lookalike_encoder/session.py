"""What encoders need from the outside: a model that runs, a tokenizer, threads.

Encoders know these protocols; `adapters` fills them, and tests fill them with fakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike_encoder.structure import Chemistry

Tensor = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model, as its file declares it."""

    dtype: str
    """numpy's name: `int64`, `float32`, `uint8`."""
    shape: tuple[int | None, ...]
    """None where the size is free."""


class InferenceSession(Protocol):
    """A loaded model. `run` is called from one thread at a time."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What it takes, by name."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What it returns, by name."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda:0`."""

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> tuple[NDArray[Any], ...]:
        """Run the model on a batch and return some of its outputs, in the order asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One text as the model reads it."""

    ids: NDArray[np.int64]
    """int64 [tokens], with the ones that frame the text."""
    words: int
    """Tokens without those that frame it."""
    truncated: bool
    """Whether its end was left out."""


class Tokenizer(Protocol):
    """Cuts texts into tokens."""

    @property
    def padding(self) -> int:
        """The id that fills short rows of a batch."""

    @property
    def vocabulary(self) -> int:
        """Ids are below it."""

    @property
    def pads_left(self) -> bool:
        """Whether short rows are filled before their first token."""

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise several texts at once."""


class Runtime(Protocol):
    """What an encoder may open when it is made."""

    @property
    def device(self) -> str:
        """The kind of device that models are opened on if it works: `cpu`, `cuda`."""

    @property
    def threads(self) -> Executor:
        """Threads for work on single items, such as decoding."""

    def open_session(self, model: Path) -> InferenceSession:
        """Load a model; raises EncoderNotReadyError."""

    def open_tokenizer(self, file: Path, max_tokens: int) -> Tokenizer:
        """Load a tokenizer that cuts off what lies beyond `max_tokens`.

        Raises EncoderNotReadyError.
        """

    def open_chemistry(self) -> Chemistry:
        """Return what reads molecules."""
