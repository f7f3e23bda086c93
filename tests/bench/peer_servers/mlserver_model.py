"""MLServer's runtime of the text model; `predict` takes the whole payload, which keeps batching."""

from __future__ import annotations

from minilm import MiniLm
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class MiniLmRuntime(MLModel):
    """Texts in, vectors out."""

    async def load(self) -> bool:
        """Load the model."""
        self._minilm = MiniLm()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Encode a batch that MLServer put together."""
        vectors = self._minilm.encode(StringCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("vector", vectors)
        return InferenceResponse(model_name=self.name, outputs=[output])
