"""Weights in torch's old format, written here byte by byte as torch does it."""

import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike_encoder.install.torch_weights import WeightsError, read_torch_weights

MAGIC = 0x1950A86A20F9469CFC6C
Shape = tuple[int, ...]


def _rebuild_tensor_v2(*_: object) -> None:
    raise AssertionError("torch's own function must not be needed")


_rebuild_tensor_v2.__module__ = "torch._utils"


@pytest.fixture(autouse=True, scope="module")
def _torch_names() -> Iterator[None]:
    """Let pickle write the names that torch has; reading must do without them."""
    torch, utilities = ModuleType("torch"), ModuleType("torch._utils")
    utilities.__dict__["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    for name in ("FloatStorage", "LongStorage", "DoubleStorage"):
        torch.__dict__[name] = type(name, (), {"__module__": "torch"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", torch)
        patch.setitem(sys.modules, "torch._utils", utilities)
        yield


@dataclass
class Stored:
    key: str
    length: int
    kind: str = "FloatStorage"


@dataclass
class Tensor:
    stored: Stored
    offset: int
    size: Shape
    strides: Shape

    def __reduce__(self) -> tuple[Any, ...]:
        hooks: OrderedDict[str, object] = OrderedDict()
        parts = (self.stored, self.offset, self.size, self.strides, False, hooks)
        return _rebuild_tensor_v2, parts


class Pickler(pickle.Pickler):
    """Writes storages as torch does: by reference."""

    def persistent_id(self, thing: object) -> object:
        if isinstance(thing, Stored):
            kind = getattr(sys.modules["torch"], thing.kind)
            return ("storage", kind, thing.key, "cpu", thing.length, None)
        return None


def written(
    tensors: dict[str, Any], storages: dict[str, NDArray[Any]], magic: int = MAGIC
) -> bytes:
    buffer = io.BytesIO()
    for header in (magic, 1001, {"little_endian": True}):
        pickle.dump(header, buffer, protocol=2)
    Pickler(buffer, protocol=2).dump(OrderedDict(tensors))
    pickle.dump(list(storages), buffer, protocol=2)
    for values in storages.values():
        buffer.write(struct.pack("<q", len(values)) + values.tobytes())
    return buffer.getvalue()


VALUES = np.arange(12, dtype=np.float32)


def test_tensors_are_cut_out_of_their_storage() -> None:
    stored = Stored("0", 12)
    weights = read_torch_weights(
        written(
            {"a": Tensor(stored, 0, (2, 3), (3, 1)), "b": Tensor(stored, 6, (6,), (1,))},
            {"0": VALUES},
        )
    )
    assert np.array_equal(weights["a"], VALUES[:6].reshape(2, 3))
    assert np.array_equal(weights["b"], VALUES[6:])


def test_strides_count() -> None:
    """Read in plain order, permuted weights give vectors that look right and mean nothing."""
    tensor = Tensor(Stored("0", 12), 0, (4, 3), (1, 4))
    assert np.array_equal(
        read_torch_weights(written({"a": tensor}, {"0": VALUES}))["a"], VALUES.reshape(3, 4).T
    )


def test_scalars_and_integers() -> None:
    values = np.array([7], np.int64)
    tensor = Tensor(Stored("0", 1, "LongStorage"), 0, (), ())
    assert read_torch_weights(written({"a": tensor}, {"0": values}))["a"] == 7


@pytest.mark.parametrize("harmful", [eval, print, pickle.loads])
def test_other_names_are_never_called(harmful: Any) -> None:
    with pytest.raises(WeightsError, match="which weights do not need"):
        read_torch_weights(written({"a": harmful}, {}))


def test_other_samples_are_refused() -> None:
    tensor = Tensor(Stored("0", 1, "DoubleStorage"), 0, (1,), (1,))
    with pytest.raises(WeightsError, match=r"torch\.DoubleStorage"):
        read_torch_weights(written({"a": tensor}, {"0": np.ones(1)}))


def test_harmful_pickles_are_refused_wherever_they_stand() -> None:
    harmful = b"cos\nsystem\n(S'true'\ntR."
    with pytest.raises(WeightsError, match=r"os\.system"):
        read_torch_weights(harmful)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(Stored("0", 12), 0, (13,), (1,)),
        Tensor(Stored("0", 12), 6, (7,), (1,)),
        Tensor(Stored("0", 12), -1, (2,), (1,)),
        Tensor(Stored("0", 12), 0, (4, 4), (4, 1)),
        Tensor(Stored("0", 12), 0, (2,), (-1,)),
    ],
)
def test_a_tensor_must_lie_within_its_storage(tensor: Tensor) -> None:
    with pytest.raises(WeightsError, match="beyond"):
        read_torch_weights(written({"a": tensor}, {"0": VALUES}))


def test_other_and_damaged_files_are_refused() -> None:
    good = written({"a": Tensor(Stored("0", 12), 0, (12,), (1,))}, {"0": VALUES})
    for data in (b"", b"PK\x03\x04", written({}, {}, magic=1), good[: len(good) // 2], good[:-1]):
        with pytest.raises(WeightsError):
            read_torch_weights(data)
