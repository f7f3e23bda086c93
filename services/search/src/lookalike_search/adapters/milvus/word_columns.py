"""The words of a text as Milvus stores them: the column, and who fills it.

Servers have an analyzer and BM25 of their own and fill the column themselves. Milvus Lite has them
too, but knows how rare a word is within one segment only: a row that was just written is scored by
the few that were written with it. (Of 40 new entries of a dictionary, 15 % were among the ten best
for a sentence that shows them, and 75 % once segments were merged.) There the column is a sparse
vector of ours (`bm25`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pymilvus.grpc_gen import common_pb2, schema_pb2

from lookalike_search.adapters.milvus.bm25 import K1, B, pack_sparse, weigh_text
from lookalike_search.filters import column_name
from lookalike_search.model import CollectionSpec, EntityRecord, KeywordIndex

TEXT: Final = "text"
"""The column of entities' text."""


@dataclass(frozen=True, slots=True)
class WordColumn:
    """The words of one text of each entity."""

    index: KeywordIndex
    native: bool
    """Milvus tells words apart and scores them."""

    @property
    def name(self) -> str:
        """The column's name."""
        return keyword_column(self.index.attribute)

    @property
    def source(self) -> str:
        """Name of the column with the text."""
        attribute = self.index.attribute
        return column_name(attribute) if attribute else TEXT

    @property
    def metric_name(self) -> str:
        """How it is searched, in Milvus's words."""
        return "BM25" if self.native else "IP"

    @property
    def placeholder_type(self) -> int:
        """What a query sends: its words, or their weights."""
        return int(common_pb2.VarChar if self.native else common_pb2.SparseFloatVector)

    def schema(self) -> schema_pb2.FieldSchema:
        """Return the schema of the column."""
        return schema_pb2.FieldSchema(
            name=self.name,
            data_type=schema_pb2.SparseFloatVector,
            is_function_output=self.native,
        )

    def function(self) -> schema_pb2.FunctionSchema:
        """Return the function with which Milvus fills it."""
        return schema_pb2.FunctionSchema(
            name=f"bm25_{self.name}",
            type=schema_pb2.BM25,
            input_field_names=[self.source],
            output_field_names=[self.name],
        )

    def index_params(self) -> Mapping[str, object]:
        """Return how it is indexed; in full, because the defaults of backends differ."""
        return {
            "index_type": "SPARSE_INVERTED_INDEX",
            "metric_type": self.metric_name,
            "params": {"bm25_k1": K1, "bm25_b": B} if self.native else {},
        }

    def pack(self, records: Sequence[EntityRecord]) -> list[schema_pb2.FieldData]:
        """Return the column's data; none where Milvus fills it."""
        if self.native:
            return []
        rows = [pack_sparse(weigh_text(self._text(each))).data for each in records]
        array = schema_pb2.SparseFloatArray(contents=rows)
        vectors = schema_pb2.VectorField(sparse_float_vector=array)
        return [
            schema_pb2.FieldData(
                type=schema_pb2.SparseFloatVector, field_name=self.name, vectors=vectors
            )
        ]

    def row_bytes(self, record: EntityRecord) -> int:
        """Return the most that a record adds to a request: a number and a weight a word."""
        return 0 if self.native else 4 * len(self._text(record))

    def _text(self, record: EntityRecord) -> str:
        if not self.index.attribute:
            return record.text
        return str(record.attributes.get(self.index.attribute, ""))


def word_columns_of(spec: CollectionSpec, *, native: bool) -> tuple[WordColumn, ...]:
    """Return the columns with the words that a collection has indexed."""
    return tuple(WordColumn(each, native) for each in spec.keyword_indexes)


def keyword_column(attribute: str) -> str:
    """Return the name of the column with the words of an attribute, or with "" of the text."""
    return f"k_{attribute or TEXT}"
