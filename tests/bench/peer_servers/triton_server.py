"""Triton through pytriton, with the text model. Argument: the port."""

from __future__ import annotations

import signal
import sys

import numpy as np
from minilm import MiniLm
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

minilm = MiniLm()
signal.signal(signal.SIGTERM, signal.default_int_handler)  # or it leaves shared memory behind


@batch
def infer(text: NDArray[np.object_]) -> dict[str, NDArray[np.float32]]:
    """Encode a batch that Triton put together."""
    return {"vector": minilm.encode([each.decode() for each in text[:, 0]])}


config = TritonConfig(
    allow_http=False,
    allow_metrics=False,
    grpc_address="127.0.0.1",
    grpc_port=int(sys.argv[1]),
)
with Triton(config=config) as triton:
    triton.bind(
        model_name="minilm",
        infer_func=infer,
        inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
        outputs=[Tensor(name="vector", dtype=np.float32, shape=(384,))],
        config=ModelConfig(
            max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=2000)
        ),
    )
    triton.serve()
