"""Tokenizers from `tokenizer.json` files, in Rust."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.session import Tokens

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # stated, so that a fork prints no warning

import tokenizers

_PADDING_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


class FastTokenizer:
    """A tokenizer that pads nothing and truncates at a number of tokens of ours.

    How rows are to be padded is read from its file.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        """Load a `tokenizer.json`, whose own padding and truncation are overruled."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more specific
            raise EncoderNotReadyError(f"the tokenizer {file} cannot be read: {error}") from error
        own: dict[str, Any] = self._tokenizer.padding or {}  # its shape is documented, not typed
        self.padding = int(own.get("pad_id", self._padding_token()))
        self.pads_left = own.get("direction") == "left"
        self.vocabulary = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._frame = self._tokenizer.num_special_tokens_to_add(is_pair=False)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise several texts at once, beside the interpreter's lock."""
        return [
            Tokens(
                np.array(encoding.ids, np.int64),
                len(encoding.ids) - self._frame,
                bool(encoding.overflowing),
            )
            for encoding in self._tokenizer.encode_batch(list(texts))
        ]

    def _padding_token(self) -> int:
        """Return the id of the token that pads, by its usual names, or 0."""
        ids = (self._tokenizer.token_to_id(name) for name in _PADDING_TOKENS)
        return next((each for each in ids if each is not None), 0)
