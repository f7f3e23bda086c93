"""The parts of the Milvus adapter that need no Milvus."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import common_pb2

from lookalike_common.errors import (
    BackendUnavailableError,
    InternalError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    StorageFullError,
)
from lookalike_search.adapters.milvus.capabilities import dialect_of
from lookalike_search.adapters.milvus.facts import (
    decode_facts,
    decode_settings,
    encode_facts,
    encode_settings,
)
from lookalike_search.adapters.milvus.failures import MilvusFailure
from lookalike_search.adapters.milvus.names import (
    Databases,
    alias_name,
    parse_physical,
    parse_record,
    parse_revision,
    physical_name,
    record_name,
    revision_name,
)
from lookalike_search.adapters.milvus.rows import (
    MAX_BATCH_BYTES,
    from_columns,
    split_by_size,
    to_columns,
)
from lookalike_search.adapters.milvus.searches import Ask
from lookalike_search.adapters.milvus.target import Target
from lookalike_search.adapters.milvus.vector_columns import column_of, columns_of
from lookalike_search.adapters.milvus.writers import Key, Writers
from lookalike_search.model import (
    AttributeSpec,
    AttributeType,
    CollectionSettings,
    CollectionSpec,
    EntityRecord,
    IndexSpec,
    IndexType,
    Metric,
    Projection,
    VectorFieldSpec,
)
from lookalike_search.store import Freshness
from lookalike_search.vectors import vector_bytes

NOW = datetime(2026, 1, 31, 1, 2, 3, 4, tzinfo=UTC)
IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def spec(dimensions: int = 3) -> CollectionSpec:
    return CollectionSpec(
        id="my-photos",
        uid="abc",
        create_time=NOW,
        vector_fields=(
            VectorFieldSpec(
                name="vector",
                dimensions=dimensions,
                metric=Metric.EUCLIDEAN,
                encoder="encoders/x@1",
                fingerprint="f" * 64,
                space="x@1",
                index=IndexSpec(type=IndexType.HNSW, params={"M": 8.0}),
            ),
        ),
        attributes=(
            AttributeSpec(name="a", type=AttributeType.STRING, filterable=True, nullable=True),
            AttributeSpec(name="n", type=AttributeType.INT, filterable=True, nullable=True),
            AttributeSpec(name="tags", type=AttributeType.STRING_LIST, filterable=True),
        ),
    )


# --- names and facts ---------------------------------------------------------------------------


@given(IDS, IDS, st.integers(0, 10**18))
def test_names_say_what_they_were_made_of(one: str, other: str, number: int) -> None:
    physical = parse_physical(physical_name(one, number))
    assert physical is not None
    assert (physical.collection_id, physical.number) == (one, number)
    revision = parse_revision(revision_name(one, number))
    assert revision is not None
    assert (revision.collection_id, revision.number) == (one, number)
    record = parse_record(record_name(one, number))
    assert record is not None
    assert (record.collection_id, record.number) == (one, number)
    assert parse_physical(revision_name(one, number)) is None
    assert parse_revision(record_name(one, number)) is None
    assert parse_physical(alias_name(one)) is None
    assert (alias_name(one) == alias_name(other)) is (one == other)
    assert alias_name(one).replace("_", "").isalnum()


@given(st.text(max_size=30), st.sampled_from(["default", "search", "ll"]))
def test_databases_belong_to_one_tenant(tenant: str, main: str) -> None:
    name = Databases(main).of(tenant)
    assert Databases(main).tenant(name) == tenant
    assert (Databases("other").tenant(name) is None) or main == "other"
    assert name.replace("_", "").isascii()
    assert name.replace("_", "").isalnum()


def test_foreign_databases_are_left_alone() -> None:
    for name in ("ll_x_zz", "ll_x_abc", "ll_t_", "other", "ll_", "defaults"):
        assert Databases().tenant(name) is None
    for name in ("default", "ll_t_acme", "searcht_acme", "search_acme"):
        assert Databases("search").tenant(name) is None


def test_facts_come_back() -> None:
    settings = CollectionSettings(
        revision=3,
        update_time=NOW,
        description='a "b"\n',
        labels={"k": "ü"},
        attributes=(AttributeSpec(name="late", type=AttributeType.INT, added=True),),
        ttl=timedelta(seconds=90),
    )
    assert decode_facts(encode_facts(spec(), settings)) == (spec(), settings)
    assert decode_settings(encode_settings("abc", settings)) == ("abc", settings)
    old = json.loads(encode_facts(spec(), settings))
    del old["layout"], old["settings"]["ttl"], old["settings"]["attributes"]
    before = replace(settings, ttl=None, attributes=())
    assert decode_facts(json.dumps(old)) == (replace(spec(), layout=1), before)
    for foreign in ("[]", "{}", '{"version": 2}'):
        with pytest.raises(ValueError, match="another version"):
            decode_facts(foreign)


@pytest.mark.parametrize(
    ("uri", "address", "tls"),
    [
        ("http://127.0.0.1:19530", "127.0.0.1:19530", False),
        ("https://milvus.example", "milvus.example:19530", True),
        ("tcp://milvus:1", "milvus:1", False),
        ("milvus:19531", "milvus:19531", False),
        ("http://[::1]:5", "[::1]:5", False),
    ],
)
def test_uris(uri: str, address: str, tls: bool) -> None:
    target = Target.parse(uri)
    assert (target.address, target.tls) == (address, tls)


@pytest.mark.parametrize("uri", ["", "./milvus.db", "file:///x", "http://"])
def test_wrong_uris(uri: str) -> None:
    with pytest.raises(ValueError, match="URI"):
        Target.parse(uri)


@pytest.mark.parametrize(
    ("version", "backend", "fields"),
    [
        ("milvus_lite-3.2.2", "milvus-lite", 8),
        ("v2.3.5", "milvus-2.3", 1),
        ("2.6.1-dev", "milvus-2.6", 4),
        ("unknown", "milvus-0.0", 1),
    ],
)
def test_dialects(version: str, backend: str, fields: int) -> None:
    capabilities = dialect_of(version).capabilities
    assert (capabilities.backend, capabilities.max_vector_fields) == (backend, fields)


@pytest.mark.parametrize(
    ("version", "metric", "index", "alone"),
    [
        ("milvus_lite-3.2.2", Metric.EUCLIDEAN, IndexType.AUTO, True),
        ("milvus_lite-3.2.2", Metric.EUCLIDEAN, IndexType.FLAT, True),
        ("milvus_lite-3.2.2", Metric.EUCLIDEAN, IndexType.HNSW, False),
        ("milvus_lite-3.2.2", Metric.COSINE, IndexType.FLAT, False),
        ("v2.3.5", Metric.EUCLIDEAN, IndexType.FLAT, False),
    ],
)
def test_searches_that_would_take_too_much_memory_together(
    version: str, metric: Metric, index: IndexType, alone: bool
) -> None:
    field = VectorFieldSpec(
        name="vector", dimensions=384, metric=metric, index=IndexSpec(type=index)
    )
    assert dialect_of(version).searches_alone(field) is alone
    ask = Ask(
        tenant="",
        storage="s",
        column=column_of(field, native_bits=False),
        columns=(),
        expression="",
        limit=10,
        projection=Projection(),
        freshness=Freshness(),
        params=(),
        alone=alone,
    )
    assert (ask.most_together == 1) is alone


@pytest.mark.parametrize(
    ("code", "legacy", "kind"),
    [
        (100, 4, NotFoundError),
        (8, 0, OverloadedError),
        (0, 49, OverloadedError),
        (2, 0, BackendUnavailableError),
        (503, 46, BackendUnavailableError),
        (1, 56, BackendUnavailableError),
        (102, 1, StorageFullError),
        (1, 1, InternalError),
        (65535, 1, InternalError),
    ],
)
def test_failures(code: int, legacy: int, kind: type[LookalikeError]) -> None:
    status = common_pb2.Status(code=code, error_code=legacy, reason="raw text")
    assert type(MilvusFailure("Query", status).translated()) is kind


def test_a_channel_that_goes_while_it_is_read() -> None:
    reason = "delegator closed during wait tsafe: channel not available[channel=x]"
    failure = MilvusFailure("Query", common_pb2.Status(code=65535, error_code=1, reason=reason))
    assert failure.is_momentary
    assert type(failure.translated()) is BackendUnavailableError


# --- rows --------------------------------------------------------------------------------------

RECORDS = st.lists(
    st.builds(
        EntityRecord,
        id=st.from_regex(r"[!-.0-~]{1,20}", fullmatch=True),
        item=st.text(max_size=20),
        text=st.text(max_size=20),
        content_hash=st.just("ab" * 32),
        generation=st.integers(1, 2**62),
        create_generation=st.integers(1, 2**62),
        confirmed=st.booleans(),
        attributes=st.fixed_dictionaries(
            {"tags": st.lists(st.text(max_size=5), max_size=3)},
            optional={
                "a": st.text(max_size=10),
                "n": st.integers(-(2**63), 2**63 - 1),
                "free": st.floats(allow_nan=False, allow_infinity=False),
            },
        ),
        create_time=st.datetimes(timezones=st.just(UTC)),
        write_time=st.integers(0, 2**42).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
        vectors=st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
        ).map(lambda values: {"vector": np.array(values, np.float32)}),
    ),
    min_size=1,
    max_size=5,
)


@given(RECORDS)
def test_rows_come_back_bit_by_bit(records: list[EntityRecord]) -> None:
    vectors = columns_of(spec(), native_bits=False)
    columns = to_columns(spec(), vectors, records)
    projection = Projection(vectors=frozenset({"vector"}))
    found = from_columns([each.id for each in records], columns, projection, vectors)
    for before, after in zip(records, found, strict=True):
        assert vector_bytes(after.vectors["vector"]) == vector_bytes(before.vectors["vector"])
        assert replace(after, vectors={}) == replace(before, vectors={})


def test_large_batches_are_split() -> None:
    vector = np.zeros(32_768, np.float32)
    records = [EntityRecord(id=str(i), vectors={"vector": vector}) for i in range(300)]
    batches = list(split_by_size(columns_of(spec(32_768), native_bits=False), records))
    assert [each for batch in batches for each in batch] == records
    assert len(batches) == 3
    assert all(len(batch) * vector.nbytes <= MAX_BATCH_BYTES for batch in batches)


# --- writers -----------------------------------------------------------------------------------

KEY = ("", "s")


async def nothing(_key: Key) -> None:
    return None


async def test_a_write_whose_caller_left_holds_the_lock_until_it_ends() -> None:
    writers = Writers(nothing)
    finish, order = asyncio.Event(), list[str]()

    async def slow() -> None:
        await finish.wait()
        order.append("slow")

    async def first() -> None:
        async with writers.exclusive(KEY):
            await writers.to_the_end(KEY, slow())

    async def second() -> None:
        async with writers.exclusive(KEY):
            order.append("second")

    leaving = asyncio.create_task(first())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(second())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    assert order == []
    finish.set()
    await waiting
    assert order == ["slow", "second"]
    assert leaving.cancelled()


async def test_waiting_for_the_lock_can_be_cancelled() -> None:
    writers = Writers(nothing)
    async with writers.exclusive(KEY):
        waiting = asyncio.create_task(writers.exclusive(KEY).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert waiting.cancelled()
    async with writers.exclusive(KEY):
        pass


async def test_rows_are_flushed_in_portions_and_after_a_pause() -> None:
    flushed = asyncio.Queue[Key]()
    writers = Writers(flushed.put)

    async def write(rows: int) -> None:
        async with writers.exclusive(KEY):
            writers.note(KEY, rows, at_once=10, idle=timedelta(milliseconds=20))

    await write(3)
    assert flushed.empty()
    await write(7)
    assert await asyncio.wait_for(flushed.get(), 5) == KEY
    await write(1)
    assert await asyncio.wait_for(flushed.get(), 5) == KEY
    await writers.close()


async def test_locks_are_forgotten() -> None:
    writers = Writers(nothing)
    for number in range(3):
        async with writers.exclusive(("", f"s{number}")):
            pass
    assert writers._writers == {}
