"""A vector field as Milvus stores it: its columns, how vectors go in and out, what a hit says.

Bits are a BINARY_VECTOR where Milvus has that. Milvus Lite has not: there they are floats, made so
that an inner product, which Lite is quickest at, says all that is needed.

- Hamming: 1 and -1. With d dimensions and h that differ the product is d - 2h.
- Tanimoto: 0, and 1 / root(n) for each of n bits that are set. The product is the cosine; how a
  ranking by cosine becomes one by Tanimoto is in `tanimoto`.

For Tanimoto n has a column of its own: with it a rounded number from Milvus gives the coefficient
exactly, so that it is the same everywhere, and no limit to scores misses it by a rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pymilvus.grpc_gen import common_pb2, schema_pb2

from lookalike_search.model import (
    Bits,
    CollectionSpec,
    Dense,
    IndexSpec,
    Metric,
    Vector,
    VectorFieldSpec,
    VectorKind,
)
from lookalike_search.scoring import score_of_distance
from lookalike_search.vectors import vector_bytes

_PACKED: Final = b"\x0a"
"""Tag of `FloatArray.data` on the wire: field 1, a block of bytes."""


class Form(Enum):
    """How a column holds vectors."""

    FLOATS = auto()
    """A dense vector as it is."""
    BITS = auto()
    """Bits as bits."""
    SPREAD = auto()
    """Bits as floats."""


Numbers: TypeAlias = NDArray[np.float64]

_METRICS: Final[Mapping[tuple[Form, Metric], str]] = {
    (Form.FLOATS, Metric.COSINE): "COSINE",
    (Form.FLOATS, Metric.INNER_PRODUCT): "IP",
    (Form.FLOATS, Metric.EUCLIDEAN): "L2",
    (Form.BITS, Metric.TANIMOTO): "JACCARD",
    (Form.BITS, Metric.HAMMING): "HAMMING",
    (Form.SPREAD, Metric.TANIMOTO): "IP",
    (Form.SPREAD, Metric.HAMMING): "IP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorColumn:
    """One vector field in a Milvus that holds vectors in this form."""

    field: str
    """The vector field's name."""
    dimensions: int
    metric: Metric
    form: Form
    optional: bool = False
    """Whether rows may lack it: Milvus wants a vector in each, so a column tells."""

    @property
    def name(self) -> str:
        """The column's name."""
        return vector_column(self.field)

    @property
    def count_name(self) -> str:
        """Name of the column with the number of bits that are set; empty where there is none."""
        return f"n_{self.field}" if self.metric is Metric.TANIMOTO else ""

    @property
    def present_name(self) -> str:
        """Name of the column that tells whether a row has the vector; empty where all have."""
        return f"p_{self.field}" if self.optional else ""

    def among_present(self, expression: str) -> str:
        """Return a filter for rows that have the vector, and that another one takes."""
        if not self.present_name:
            return expression
        present = f"{self.present_name} == true"
        return f"({expression}) and {present}" if expression else present

    @property
    def ranks_by_cosine(self) -> bool:
        """Whether Milvus's own order is by cosine, and Tanimoto is wanted."""
        return self.form is Form.SPREAD and self.metric is Metric.TANIMOTO

    @property
    def metric_name(self) -> str:
        """The metric in Milvus's words."""
        return _METRICS[self.form, self.metric]

    @property
    def row_bytes(self) -> int:
        """Size of one vector in a request."""
        return self._width // 8 if self.form is Form.BITS else 4 * self.dimensions

    def index(self, index: IndexSpec) -> str:
        """Return the name of an index whose type is decided."""
        name = index.type.value.upper()
        return f"BIN_{name}" if self.form is Form.BITS else name

    def schemas(self) -> list[schema_pb2.FieldSchema]:
        """Return the schemas of the columns."""
        kind = schema_pb2.BinaryVector if self.form is Form.BITS else schema_pb2.FloatVector
        dimensions = common_pb2.KeyValuePair(key="dim", value=str(self._width))
        schemas = [schema_pb2.FieldSchema(name=self.name, data_type=kind, type_params=[dimensions])]
        if self.count_name:
            schemas.append(schema_pb2.FieldSchema(name=self.count_name, data_type=schema_pb2.Int64))
        if self.present_name:
            schemas.append(
                schema_pb2.FieldSchema(name=self.present_name, data_type=schema_pb2.Bool)
            )
        return schemas

    def pack(self, found: Sequence[Vector | None]) -> list[schema_pb2.FieldData]:
        """Return the columns' data for one vector a row, or none where it is optional."""
        vectors = [self._filler() if each is None else each for each in found]
        data = b"".join(map(self.to_bytes, vectors))
        if self.form is Form.BITS:
            kind = schema_pb2.BinaryVector
            field = schema_pb2.VectorField(dim=self._width, binary_vector=data)
        else:
            kind = schema_pb2.FloatVector
            field = schema_pb2.VectorField(dim=self._width, float_vector=_pack_floats(data))
        packed = schema_pb2.FieldData(type=kind, field_name=self.name, vectors=field)
        columns = [packed]
        if self.count_name:
            columns.append(_pack_counts(self.count_name, vectors))
        if self.present_name:
            columns.append(_pack_presence(self.present_name, found))
        return columns

    def unpack(self, data: schema_pb2.FieldData, rows: int) -> Sequence[Vector]:
        """Return the vectors in a column's data."""
        if self.form is Form.BITS:
            return self._cut(data.vectors.binary_vector, rows)
        floats = _unpack_floats(data.vectors.float_vector).reshape(rows, self.dimensions)
        if self.form is Form.FLOATS:
            return list(floats)
        packed = np.packbits(floats > 0.0, axis=1, bitorder="little")
        return self._cut(packed.tobytes(), rows)

    def to_bytes(self, vector: Vector) -> bytes:
        """Return one vector as the column holds it, for a row or a query."""
        if self.form is not Form.SPREAD or not isinstance(vector, Bits):
            return vector_bytes(vector)
        packed = np.frombuffer(vector.data, np.uint8)
        bits = np.unpackbits(packed, count=self.dimensions, bitorder="little")
        off, on = (
            (-1.0, 1.0) if self.metric is Metric.HAMMING else (0.0, max(1, vector.count) ** -0.5)
        )
        return np.array([off, on], "<f4")[bits].tobytes()

    def placeholder(self, vectors: Sequence[Vector]) -> common_pb2.PlaceholderValue:
        """Return the vectors of a search."""
        binary = self.form is Form.BITS
        return common_pb2.PlaceholderValue(
            tag="$0",
            type=common_pb2.BinaryVector if binary else common_pb2.FloatVector,
            values=[self.to_bytes(each) for each in vectors],
        )

    def measure(
        self, vector: Vector, numbers: Sequence[float], counts: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Return score and distance of each hit from Milvus's own number for it.

        `counts` are of the column `count_name`, where there is one.
        """
        if self.metric is Metric.TANIMOTO and isinstance(vector, Bits):
            own, others = vector.count, np.array(counts, np.float64)
            given = np.array(numbers, np.float64)
            if self.ranks_by_cosine:
                common = given * np.sqrt(own * others)
            else:
                common = (1.0 - given) * (own + others) / (2.0 - given)
            return [(score, 1.0 - score) for score in _tanimotos(own, others, common)]
        distances = [self._distance(each) for each in numbers]
        return [(score_of_distance(self.metric, each, self.dimensions), each) for each in distances]

    @property
    def _width(self) -> int:
        """Dimensions of the column; BINARY_VECTOR has whole bytes only, filled up with zeros."""
        return -(-self.dimensions // 8) * 8 if self.form is Form.BITS else self.dimensions

    def _filler(self) -> Vector:
        """Return what stands for no vector: never found, and harmless to every metric."""
        if self.form is Form.FLOATS:
            filler = np.zeros(self.dimensions, np.float32)
            filler[0] = 1.0
            return filler
        return Bits(b"\x01" + bytes(-(-self.dimensions // 8) - 1), self.dimensions)

    def _cut(self, data: bytes, rows: int) -> list[Bits]:
        size = -(-self.dimensions // 8)
        return [Bits(data[row * size : (row + 1) * size], self.dimensions) for row in range(rows)]

    def _distance(self, number: float) -> float:
        """Return the metric's distance: Milvus has similarities, and the square for L2."""
        match self.metric:
            case Metric.COSINE:
                return 1.0 - max(-1.0, min(1.0, number))
            case Metric.EUCLIDEAN:
                return float(np.sqrt(max(0.0, number)))
            case Metric.HAMMING if self.form is Form.SPREAD:
                return float(round((self.dimensions - number) / 2))
            case Metric.HAMMING:
                return number
            case _:
                return -number


def vector_column(name: str) -> str:
    """Return the name of a vector field's column."""
    return f"v_{name}"


def column_of(field: VectorFieldSpec, *, native_bits: bool) -> VectorColumn:
    """Return how a vector field is stored, where Milvus has BINARY_VECTOR or not."""
    bits = Form.BITS if native_bits else Form.SPREAD
    return VectorColumn(
        field=field.name,
        dimensions=field.dimensions,
        metric=field.metric,
        form=bits if field.kind is VectorKind.BINARY else Form.FLOATS,
        optional=field.optional,
    )


def columns_of(spec: CollectionSpec, *, native_bits: bool) -> tuple[VectorColumn, ...]:
    """Return how a collection's vector fields are stored, in their order."""
    return tuple(column_of(each, native_bits=native_bits) for each in spec.vector_fields)


def _tanimotos(own: int, others: Numbers, common: Numbers) -> list[float]:
    """Return exact coefficients, x / (a + b - x), from what is nearly x: as x is whole."""
    whole = np.rint(common)
    coefficients: list[float] = (whole / (own + others - whole)).tolist()
    return coefficients


def _pack_counts(name: str, vectors: Sequence[Vector]) -> schema_pb2.FieldData:
    counts = [each.count for each in vectors if isinstance(each, Bits)]
    return schema_pb2.FieldData(
        type=schema_pb2.Int64,
        field_name=name,
        scalars=schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=counts)),
    )


def _pack_presence(name: str, found: Sequence[Vector | None]) -> schema_pb2.FieldData:
    data = [each is not None for each in found]
    return schema_pb2.FieldData(
        type=schema_pb2.Bool,
        field_name=name,
        scalars=schema_pb2.ScalarField(bool_data=schema_pb2.BoolArray(data=data)),
    )


def _pack_floats(data: bytes) -> schema_pb2.FloatArray:
    """Return the message without a Python object for each float: its bytes are known."""
    return schema_pb2.FloatArray.FromString(_PACKED + _varint(len(data)) + data)


def _unpack_floats(array: schema_pb2.FloatArray) -> Dense:
    data = array.SerializeToString()
    if not data:
        return np.empty(0, np.float32)
    start = 1 + next(index for index in range(1, len(data)) if data[index] < 0x80)
    return np.frombuffer(data, "<f4", offset=start)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
