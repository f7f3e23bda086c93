"""Vectors that callers bring, in the form in which services exchange them."""

import struct

from lookalike.type.v1 import vector_pb2
from lookalike_common.errors import InvalidContentError
from lookalike_ingest.encoding import PackedVector

_FLOAT_BYTES = 4


def pack_vector(components: bytes, *, binary: bool) -> PackedVector:
    """See `PackVector`."""
    count = len(components) // _FLOAT_BYTES
    if binary:
        return _pack_bits(struct.unpack(f"<{count}f", components))
    dense = vector_pb2.DenseVector(
        data=components, dtype=vector_pb2.DATA_TYPE_FLOAT32, dimensions=count
    )
    return vector_pb2.Vector(dense=dense).SerializeToString()


def _pack_bits(bits: tuple[float, ...]) -> PackedVector:
    if not set(bits) <= {0.0, 1.0}:
        raise InvalidContentError("the components of a binary vector are 0 or 1")
    data = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        data[index // 8] |= int(bit) << index % 8
    packed = vector_pb2.BinaryVector(data=bytes(data), dimensions=len(bits))
    return vector_pb2.Vector(binary=packed).SerializeToString()
