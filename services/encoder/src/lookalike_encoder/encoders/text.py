"""Texts: tokenise, run, take the mean over the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lookalike_common.errors import (
    InvalidArgumentError,
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
)
from lookalike_encoder.content import Item, Operation, Task, TextContent, Vectors
from lookalike_encoder.encoder import Prepared, Row, normalise, wrong_modality
from lookalike_encoder.manifest import Manifest, Normalisation
from lookalike_encoder.session import Runtime, Tokens

_OUTPUT = "last_hidden_state"
_CHARACTERS_PER_TOKEN = 4  # of English; only the size of an epoch depends on it
_FRAME_TOKENS = 2


class TextPreprocessing(BaseModel):
    """How a text becomes tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal[1]
    """Changes when the code does something else with the same values."""
    max_tokens: int = Field(ge=3)
    """With those that frame the text; the rest is cut off."""
    query_prefix: str
    document_prefix: str


class TextEncoder:
    """A transformer that returns a vector for each token as `last_hidden_state`."""

    prefetches = False
    operations = frozenset({Operation.ENCODE, Operation.RERANK})
    labels = ()

    def __init__(self, manifest: Manifest, files: Mapping[str, Path], runtime: Runtime) -> None:
        self.manifest = manifest
        self._preprocessing = TextPreprocessing.model_validate(manifest.preprocessing)
        self._prefixes = {
            Task.QUERY: self._preprocessing.query_prefix,
            Task.DOCUMENT: self._preprocessing.document_prefix,
        }
        self._tokenizer = runtime.open_tokenizer(files["tokenizer"], self._preprocessing.max_tokens)
        self._session = runtime.open_session(files["model"])

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self._session.device

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self._preprocessing.max_tokens

    def estimate(self, item: Item) -> int:
        """Guess the number of tokens by the number of characters."""
        guess = item.content.size // _CHARACTERS_PER_TOKEN + _FRAME_TOKENS
        return min(guess, self._preprocessing.max_tokens)

    def prepare(self, items: Sequence[Item]) -> list[Prepared | LookalikeError]:
        """Tokenise all texts in one go."""
        checked = [self._check(item) for item in items]
        texts = [text for text in checked if isinstance(text, str)]
        tokens = iter(self._tokenizer.tokenize(texts) if texts else [])
        return [
            _row(next(tokens), item.operation) if isinstance(each, str) else each
            for item, each in zip(items, checked, strict=True)
        ]

    def encode(self, rows: Sequence[Row]) -> list[Vectors]:
        """Run texts together, the shorter ones padded; padding changes nothing."""
        ids, mask = self._pad(rows)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(inputs, [_OUTPUT])
        hidden = hidden.astype(np.float32, copy=False)
        pooled = normalise(_mean(hidden, mask), self.manifest.normalisation)
        return [
            vector if row.operation is Operation.ENCODE else _tokens(tokens[: row.length])
            for row, vector, tokens in zip(rows, pooled, hidden, strict=True)
        ]

    def _check(self, item: Item) -> str | LookalikeError:
        """Return the text to tokenise, with its prefix, or why it cannot be."""
        if not isinstance(item.content, TextContent):
            return wrong_modality(self.manifest, item.content)
        if item.regions:
            return InvalidArgumentError("only pictures have regions", field="regions")
        text = item.content.text
        allowed = self.manifest.limits.max_bytes
        if len(text) > allowed or len(text.encode()) > allowed:
            return LimitExceededError(
                f"the text is longer than the {allowed} bytes that are allowed", field="content"
            )
        if not text.strip():
            return InvalidContentError("the text is empty", field="content")
        return self._prefixes[item.task] + text

    def _pad(self, rows: Sequence[Row]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        longest = max(row.length for row in rows)
        ids = np.full((len(rows), longest), self._tokenizer.padding, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for index, row in enumerate(rows):
            ids[index, : row.length] = row.data
            mask[index, : row.length] = 1
        return ids, mask


def _row(tokens: Tokens, operation: Operation) -> Prepared | LookalikeError:
    if not tokens.words:
        return InvalidContentError("the text has nothing that the model reads", field="content")
    return Prepared((Row(len(tokens.ids), tokens.ids, operation),), tokens.truncated)


def _mean(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """Average the vectors of the tokens that the mask keeps: [n, t, d], [n, t] → [n, d]."""
    weights = mask / mask.sum(axis=1, keepdims=True)
    pooled = np.matmul(weights[:, np.newaxis, :].astype(np.float32), hidden)
    return np.asarray(pooled[:, 0, :])


def _tokens(hidden: Vectors) -> Vectors:
    """Return the tokens of one text as vectors of length 1: [t, d] → [t, d].

    Those that frame the text stay: they stand for the whole of it, and with them the right
    document comes first a little more often.
    """
    return normalise(hidden, Normalisation.L2)
