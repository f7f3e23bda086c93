"""Token ids of the Open Inference Protocol: what the mask leaves of them is the text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import InvalidArgumentError, InvalidContentError
from lookalike_encoder.content import TokensContent
from lookalike_encoder.convert.tensors import Tensor, read_tensor
from lookalike_encoder.inference_protocol import inference_service_pb2 as pb

IDS, MASK = "input_ids", "attention_mask"
DATATYPE = "INT64"


def place_of_mask(request: pb.ModelInferRequest) -> int | None:
    """Return which input of a request is the mask that goes with its ids."""
    names = [each.name for each in request.inputs]
    return names.index(MASK) if sorted(names) == [MASK, IDS] else None


def read_mask(request: pb.ModelInferRequest, index: int, ids: Tensor) -> NDArray[np.bool_]:
    """Return which ids count: bool [n, tokens]; raises InvalidArgumentError."""
    mask = read_tensor(request, ids.shape[0], frozenset(), index)
    if mask.datatype != DATATYPE:
        raise InvalidArgumentError(f"must be {DATATYPE}", field=f"inputs[{index}].datatype")
    if mask.shape != ids.shape:
        text = f"must be that of {IDS}, {list(ids.shape)}"
        raise InvalidArgumentError(text, field=f"inputs[{index}].shape")
    values = np.asarray(mask.elements)
    for row, each in enumerate(values):
        _check(each, f"{MASK}[{row}]")
    return values.astype(bool)


def read_tokens(tensor: Tensor, index: int) -> TokensContent:
    """Return the ids of one text, without those that the mask leaves out."""
    ids: Any = tensor.elements[index]
    kept = ids if tensor.mask is None else ids[tensor.mask[index]]
    return TokensContent(kept.astype("<i8", copy=False).tobytes())


def _check(mask: NDArray[np.int64], field: str) -> None:
    """Raise InvalidContentError unless a row is zeros and ones, and the ones lie together."""
    if ((mask != 0) & (mask != 1)).any():
        raise InvalidContentError("must be 0 or 1 for each token", field=field)
    kept = np.flatnonzero(mask)
    if len(kept) and kept[-1] - kept[0] >= len(kept):
        text = "leaves out tokens between others; only padding can be left out"
        raise InvalidContentError(text, field=field)
