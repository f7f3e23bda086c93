"""Reads weights that torch saved in its old format, without torch.

Such a file is a row of pickles (magic number, protocol, machine, then the dictionary of tensors,
then the list of their storages) followed by the raw bytes of each storage. A pickle may call any
function it names, so only the two names that a dictionary of tensors needs are allowed.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.generic]]

_MAGIC = 0x1950A86A20F9469CFC6C
_SAMPLE_TYPES: dict[str, type[np.generic]] = {
    "FloatStorage": np.float32,
    "LongStorage": np.int64,
}


_StorageReference = tuple[str, type[np.generic], str, str, int, object]
"""What torch writes for a storage: kind, type of its samples, key, device, length, view."""


class WeightsError(ValueError):
    """The bytes are not weights that can be read here."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor lies in its storage; sizes and strides count elements."""

    storage: str
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Storage:
    sample_type: type[np.generic]
    length: int


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles a dictionary of tensors, noting which storages they lie in."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _SAMPLE_TYPES:
            return _SAMPLE_TYPES[name]
        raise WeightsError(f"the file names {module}.{name}, which weights do not need")

    def persistent_load(self, reference: _StorageReference) -> str:
        _, sample_type, key, _, length, _ = reference
        self.storages.setdefault(key, _Storage(sample_type, length))
        return str(key)


def _tensor(
    storage: str, offset: int, size: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, size, strides)


def read_torch_weights(data: bytes) -> Weights:
    """Read a dictionary of tensors by name; raises WeightsError."""
    file = BytesIO(data)
    try:
        if _TensorUnpickler(file).load() != _MAGIC:
            raise WeightsError("these are no weights in torch's old format")
        _TensorUnpickler(file).load()  # protocol
        _TensorUnpickler(file).load()  # the machine it was written on
        reader = _TensorUnpickler(file)
        tensors = reader.load()
        order = _TensorUnpickler(file).load()
        samples = {key: _read_storage(file, reader.storages[key]) for key in order}
        return {name: _place(samples[tensor.storage], tensor) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, struct.error, AttributeError) as error:
        raise WeightsError(f"the weights cannot be read: {error}") from error


def _read_storage(file: BytesIO, storage: _Storage) -> NDArray[np.generic]:
    (length,) = struct.unpack("<q", file.read(8))
    if length != storage.length:
        raise WeightsError(f"a storage has {length} elements where {storage.length} are announced")
    raw = file.read(length * np.dtype(storage.sample_type).itemsize)
    try:
        return np.frombuffer(raw, storage.sample_type, count=length)
    except ValueError as error:
        raise WeightsError("the weights end too early") from error


def _place(samples: NDArray[np.generic], tensor: _Tensor) -> NDArray[np.generic]:
    """Cut a tensor out of its storage.

    Its strides count: weights that came from TensorFlow were saved permuted, and read in plain
    order they give vectors that look right and mean nothing.
    """
    reach = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.size, tensor.strides, strict=True)
    )
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or reach >= len(samples):
        raise WeightsError("a tensor reaches beyond its storage")
    width = samples.itemsize
    view = np.lib.stride_tricks.as_strided(
        samples[tensor.offset :], tensor.size, [width * stride for stride in tensor.strides]
    )
    return view.copy()
