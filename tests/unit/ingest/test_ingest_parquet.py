"""Parquet: rows by their place in any order, vectors packed, everything else as JSON."""

from __future__ import annotations

import datetime as dt
import io
import random
from decimal import Decimal
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike_common.errors import InvalidContentError, LimitExceededError, SourceChangedError
from lookalike_ingest.adapters.arrow_parquet import ArrowParquet
from lookalike_ingest.sources.parquet_rows import ParquetRows

PARQUET = ArrowParquet(max_columns=10, max_group_bytes=1 << 20)


def written(columns: dict[str, Any], rows: int = 1000) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=rows)
    return file.getvalue()


def test_values_become_json_and_vectors_stay_packed() -> None:
    vectors = [[1.0, 2.0], None, [3.0, None]]
    data = written(
        {
            "list": pa.array(vectors, pa.list_(pa.float64())),
            "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
            "half": pa.array([[1.0]] * 3, pa.large_list(pa.float16())),
            "words": [["a"], [], ["b", "c"]],
            "time": [dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)] * 3,
            "day": [dt.date(2026, 1, 2)] * 3,
            "money": [Decimal("1.5")] * 3,
            "number": [1.5, float("nan"), None],
            "deep": [{"a": {"b": b"\0"}}] * 3,
        }
    )
    (batch,) = PARQUET.read_group(io.BytesIO(data), 0, None, {"list", "fixed", "half", "words"})
    first, second, third = batch
    assert first["list"] == first["fixed"] == np.array([1, 2], "<f4").tobytes()
    assert (second["list"], second["fixed"]) == (None, None)
    assert third["list"] is None, "a vector has no gaps"
    assert third["fixed"] == np.array([3, 4], "<f4").tobytes()
    assert first["half"] == np.array([1], "<f4").tobytes()
    assert third["words"] == ["b", "c"]
    assert (first["time"], first["day"]) == ("2026-01-02T03:04:05+00:00", "2026-01-02")
    assert (first["money"], second["number"], third["number"]) == (1.5, None, None)
    assert first["deep"] == {"a": {"b": "AA=="}}


def test_rows_are_read_in_any_order() -> None:
    """Near neighbours without reading anything twice; far back by beginning again."""
    data = written({"n": list(range(3000)), "v": [[float(n)] for n in range(3000)]}, rows=2000)
    opened: list[BinaryIO] = []

    def opener() -> BinaryIO:
        opened.append(io.BytesIO(data))
        return opened[-1]

    rows = ParquetRows(PARQUET)

    def read(row: int) -> object:
        return rows.read("file", opener, row // 2000, row % 2000, frozenset({"v"}))["n"]

    jumbled = [
        base + shift for base in range(0, 2000, 8) for shift in random.Random(1).sample(range(8), 8)
    ]
    assert [read(row) for row in jumbled] == jumbled
    assert len(opened) == 1
    assert [read(row) for row in (2999, 5, 1999, 2000, 0)] == [2999, 5, 1999, 2000, 0]
    with pytest.raises(SourceChangedError):
        rows.read("file", opener, 1, 1000, frozenset())
    rows.close()
    assert all(file.closed for file in opened)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"x" * 100])
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidContentError, match="Parquet"):
        PARQUET.describe(io.BytesIO(data))


def test_a_damaged_page_is_refused() -> None:
    data = bytearray(written({"n": ["some text " * 10 + str(n) for n in range(1000)]}))
    data[100:3000] = b"\xff" * 2900
    with pytest.raises(InvalidContentError, match="Parquet"):
        list(PARQUET.read_group(io.BytesIO(bytes(data)), 0, None))


def test_limits_are_those_of_the_footer() -> None:
    assert PARQUET.describe(io.BytesIO(written({f"c{n}": [1] for n in range(10)}))).groups == [1]
    with pytest.raises(LimitExceededError, match="11 columns"):
        PARQUET.describe(io.BytesIO(written({f"c{n}": [1] for n in range(11)})))
    wide = written({"v": [[n + m / 401 for m in range(400)] for n in range(1000)]})
    with pytest.raises(LimitExceededError, match="row group"):
        PARQUET.describe(io.BytesIO(wide))
