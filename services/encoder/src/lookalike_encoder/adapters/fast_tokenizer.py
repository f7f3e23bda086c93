"""Tokenizers from `tokenizer.json` files, in Rust."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookalike_common.errors import EncoderNotReadyError
from lookalike_encoder.session import Tokens

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # stated, so that a fork prints no warning

import tokenizers


class FastTokenizer:
    """A tokenizer that pads nothing and truncates at a number of tokens of ours."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        """Load a `tokenizer.json`, whose own padding and truncation are overruled."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more specific
            raise EncoderNotReadyError(f"the tokenizer {file} cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._frame = self._tokenizer.num_special_tokens_to_add(is_pair=False)

    @property
    def padding(self) -> int:
        """The id of `[PAD]`, or 0."""
        return int(self._tokenizer.token_to_id("[PAD]") or 0)

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
