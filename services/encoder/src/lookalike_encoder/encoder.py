"""What an encoder is to the rest of the service, and what an encoder's file has to offer.

The batcher knows nothing about texts or pictures: it asks an encoder to prepare items into rows,
chooses rows of similar length, and hands them back to be run together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import LookalikeError, WrongModalityError
from lookalike_encoder.content import (
    AudioContent,
    Content,
    ImageContent,
    Item,
    Operation,
    RawAudioContent,
    RawImageContent,
    SequenceContent,
    SmilesContent,
    TextContent,
    TokensContent,
    Vectors,
)
from lookalike_encoder.manifest import Manifest, Modality, Normalisation
from lookalike_encoder.session import Runtime


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a batch: what becomes one vector."""

    length: int
    """How much work it is; a run costs its rows times the longest of their lengths."""
    data: Any
    """What the model takes, in the encoder's own shape; mostly an array."""
    operation: Operation = Operation.ENCODE
    """What is to be made of it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item ready to be run."""

    rows: tuple[Row, ...]
    truncated: bool = False
    canonical: str = ""
    width: int = 0
    height: int = 0


class Encoder(Protocol):
    """One kind of model. Made by `Factory`; called from worker threads, never from the loop."""

    @property
    def manifest(self) -> Manifest:
        """What it is."""

    @property
    def operations(self) -> frozenset[Operation]:
        """What can be asked of it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can detect; empty where it does not."""

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, `cuda:0`."""

    @property
    def prefetches(self) -> bool:
        """Whether preparing is so much work that it pays to do it while the model runs."""

    def estimate(self, item: Item) -> int:
        """Guess the sum of the lengths an item's rows will have. Cheap: called on the loop."""

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Turn items into rows; an item that cannot be read becomes its error."""

    def encode(self, rows: Sequence[Row]) -> Sequence[NDArray[Any]]:
        """Run rows together, whatever their operations: one array a row, as `Operation` says."""


_MODALITIES: dict[type[Content], tuple[Modality, str]] = {
    TextContent: (Modality.TEXT, "text"),
    TokensContent: (Modality.TEXT, "token ids"),
    ImageContent: (Modality.IMAGE, "an image"),
    RawImageContent: (Modality.IMAGE, "an image"),
    AudioContent: (Modality.AUDIO, "a sound"),
    RawAudioContent: (Modality.AUDIO, "a sound"),
    SmilesContent: (Modality.MOLECULE, "a molecule"),
    SequenceContent: (Modality.SEQUENCE, "a nucleotide sequence"),
}

Factory = Callable[[Manifest, Mapping[str, Path], Runtime], Encoder]
"""Makes an encoder of its manifest and the model's files by role; the target of an entry point."""


def normalise(vectors: Vectors, how: Normalisation) -> Vectors:
    """Bring rows to unit length, or leave them."""
    if how is Normalisation.NONE:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    tiny = np.finfo(np.float32).tiny  # a vector of zeros stays one
    unit: Vectors = np.divide(vectors, np.maximum(lengths, tiny), dtype=np.float32)
    return unit


def takes(manifest: Manifest, content: Content) -> bool:
    """Whether content is of a modality that an encoder takes."""
    return _MODALITIES[type(content)][0] in manifest.modalities


def wrong_modality(manifest: Manifest, content: Content) -> WrongModalityError:
    """Say which modality an encoder takes, and which one it got."""
    return WrongModalityError(
        f"encoders/{manifest.versioned_name} takes {manifest.modality_names}, not "
        f"{_MODALITIES[type(content)][1]}",
        field="content",
    )
