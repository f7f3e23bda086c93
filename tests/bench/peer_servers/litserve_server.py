"""LitServe with the text model. Argument: the port."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence

import litserve
import numpy as np
from minilm import MiniLm
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class MiniLmApi(litserve.LitAPI):
    """Texts in, vectors out, as base64: a list of numbers would cost it more."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self._minilm = MiniLm()

    def decode_request(self, request: dict[str, str]) -> str:
        """Take the text out of a request."""
        return request["text"]

    def batch(self, inputs: Sequence[str]) -> Sequence[str]:
        """Leave texts as they are."""
        return inputs

    def predict(self, texts: Sequence[str]) -> Vectors:
        """Encode a batch that LitServe put together."""
        return self._minilm.encode(texts)

    def unbatch(self, output: Vectors) -> Vectors:
        """Rows are answers."""
        return output

    def encode_response(self, output: Vectors) -> dict[str, str]:
        """Put a vector into a response."""
        return {"vector": base64.b64encode(output.tobytes()).decode()}


if __name__ == "__main__":
    api = MiniLmApi(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", devices=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
