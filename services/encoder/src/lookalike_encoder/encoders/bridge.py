"""Pictures and texts in one space, without a model that was trained on both (Norouzi et al. 2014).

A classifier says which of the things it knows are in a picture, and how surely. The picture's
vector is the average of the vectors of their names, each counting as much as it is sure: a point
between the meanings of words. Texts lie in the same space by themselves. What the classifier does
not know can only be described by what it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import LookalikeError
from lookalike_encoder.content import Item, Operation, TextContent, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise
from lookalike_encoder.encoders.image import ImageEncoder
from lookalike_encoder.encoders.text import TextEncoder
from lookalike_encoder.manifest import Manifest, ManifestError, Modality, Normalisation, Pooling
from lookalike_encoder.session import Runtime

_OUTPUT = "logits"
_BATCH = 16


class BridgePreprocessing(BaseModel):
    """How both kinds are prepared, as for encoders of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    classes: int = Field(ge=1)
    """How many of the likeliest classes make a picture's vector."""
    image: dict[str, Any]
    text: dict[str, Any]


class BridgeEncoder:
    """A classifier of pictures, whose `logits` are turned into vectors by a model of texts.

    Files: `image`, `text`, `tokenizer`, and `classes`, a line of text for each class.
    """

    prefetches = True
    operations = frozenset({Operation.ENCODE})
    labels = ()

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        """Raise ManifestError where the lines are not as many as the classifier's classes."""
        self.manifest = manifest
        how = BridgePreprocessing.model_validate(manifest.preprocessing)
        self._top = how.classes
        self._pictures = ImageEncoder(
            _part(manifest, Modality.IMAGE, how.image), {"model": files["image"]}, runtime
        )
        self._texts = TextEncoder(
            _part(manifest, Modality.TEXT, how.text),
            {"model": files["text"], "tokenizer": files["tokenizer"]},
            runtime,
        )
        names = files["classes"].read_text(encoding="utf-8").splitlines()
        announced = self._pictures.size_of(_OUTPUT)
        if announced not in {None, len(names)}:
            raise ManifestError(f"{len(names)} lines describe {announced} classes")
        self._classes = self._encode_names(names)
        self._picture_length = self._texts.longest
        """A picture is as much work as a long text."""

    @property
    def device(self) -> str:
        """Where the models run."""
        return self._pictures.device

    def estimate(self, item: Item) -> int:
        """Guess tokens; a picture counts as a long text."""
        if isinstance(item.content, TextContent):
            return self._texts.estimate(item)
        return self._picture_length * self._pictures.estimate(item)

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Tokenise the texts, decode the pictures."""
        texts = [isinstance(item.content, TextContent) for item in items]
        tokenised = iter(self._texts.prepare(list(_pick(items, texts, wanted=True))))
        decoded = iter(self._pictures.prepare(list(_pick(items, texts, wanted=False))))
        return [next(tokenised) if is_text else self._longer(next(decoded)) for is_text in texts]

    def encode(self, rows: Sequence[Row]) -> list[Vectors]:
        """Run the texts together, and the pictures."""
        texts = [row.data.ndim == 1 for row in rows]
        written = list(_pick(rows, texts, wanted=True))
        seen = list(_pick(rows, texts, wanted=False))
        of_texts = iter(self._texts.encode(written) if written else ())
        of_pictures = iter(self._describe(seen) if seen else ())
        return [next(of_texts) if is_text else next(of_pictures) for is_text in texts]

    def _describe(self, rows: Sequence[Row]) -> Vectors:
        """Average the names of what is likeliest in each picture: float32 [rows, dimensions]."""
        logits = self._pictures.run(rows, _OUTPUT)
        best = np.argsort(-logits, axis=1, kind="stable")[:, : self._top]
        chosen = np.take_along_axis(logits, best, axis=1)
        shares = np.exp(chosen - chosen[:, :1])
        shares /= shares.sum(axis=1, keepdims=True)
        means = np.matmul(shares[:, np.newaxis, :], self._classes[best])[:, 0]
        return normalise(means, Normalisation.L2)

    def _encode_names(self, names: Sequence[str]) -> Vectors:
        """Encode what the classes are called: float32 [classes, dimensions]."""
        prepared = self._texts.prepare([Item(TextContent(name)) for name in names])
        rows = [row for each in prepared if isinstance(each, Prepared) for row in each.rows]
        if len(rows) != len(names):
            raise ManifestError("a class has no name that the model reads")
        order = sorted(range(len(rows)), key=lambda index: rows[index].length)
        vectors = np.zeros((len(rows), self.manifest.dimensions), np.float32)
        remaining = iter(order)
        while batch := list(islice(remaining, _BATCH)):
            vectors[batch] = self._texts.encode([rows[index] for index in batch])
        return vectors

    def _longer(self, prepared: Prepared | LookalikeError) -> Prepared | LookalikeError:
        if isinstance(prepared, LookalikeError):
            return prepared
        return Prepared(tuple(Row(self._picture_length, row.data) for row in prepared.rows))


def _part(manifest: Manifest, modality: Modality, preprocessing: dict[str, Any]) -> Manifest:
    """Return the manifest that one half would have by itself."""
    changes: dict[str, Any] = {"modalities": (modality,), "preprocessing": preprocessing}
    if modality is Modality.IMAGE:  # its vectors are of another size, and not asked for
        changes |= {"dimensions": 0, "pooling": Pooling.NONE}
    else:
        changes["pooling"] = Pooling.MEAN
    return manifest.model_copy(update=changes)


def _pick(elements: Sequence[Any], flags: Sequence[bool], *, wanted: bool) -> Iterator[Any]:
    """Yield the elements whose flag is the wanted one."""
    return (each for each, flag in zip(elements, flags, strict=True) if flag is wanted)
