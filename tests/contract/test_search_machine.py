"""Random calls to a search service, each answer compared with a model in plain Python.

The machine creates, writes, changes, deletes, renames and searches in any order, while search is
restarted and Milvus is killed in between. Set LOOKALIKE_TEST_EXAMPLES to let it run longer, with
other calls each time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lookalike.search.v1 import (
    collection_pb2,
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import outcome_pb2, vector_pb2
from lookalike_common.channels import open_channel
from lookalike_common.testing import assert_eventually, loopback, running
from lookalike_search.app import build
from lookalike_search.settings import MilvusSettings, SearchServerSettings, SearchSettings
from tests.support.milvus_process import MilvusProcess
from tests.support.search_client import ATTRIBUTES, SearchClient, dense, entity, failure
from tests.support.search_model import (
    CONDITIONS,
    COSINE,
    EUCLIDEAN,
    INNER_PRODUCT,
    Attributes,
    Condition,
    Library,
    Shelf,
    Thing,
    Vector,
)

Result = TypeVar("Result")

METRICS: Final = {
    COSINE: vector_pb2.METRIC_COSINE,
    EUCLIDEAN: vector_pb2.METRIC_EUCLIDEAN,
    INNER_PRODUCT: vector_pb2.METRIC_INNER_PRODUCT,
}
OUTCOMES: Final = {
    outcome_pb2.OUTCOME_CREATED: "created",
    outcome_pb2.OUTCOME_UPDATED: "updated",
    outcome_pb2.OUTCOME_UNCHANGED: "unchanged",
}
STRONG: Final = search_service_pb2.CONSISTENCY_STRONG
PRECISION: Final = 2e-5
"""Scores are float32, and so is what Milvus computes with."""
EXAMPLES: Final = int(os.environ.get("LOOKALIKE_TEST_EXAMPLES", "0"))

names = st.sampled_from(["one", "two", "two-b", "three"])
picks = st.integers(0, 19)
"""Which of the collections and aliases that there are; 0 is one that there is not."""
keys = st.sampled_from([f"e{number}" for number in range(12)])
components = st.integers(-8, 8)
vectors = (
    st.tuples(components, components, components)
    .filter(any)
    .map(lambda values: np.array(values, np.float64) / 4)
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "price": st.integers(0, 6),
        "color": st.sampled_from(["red", "blue", 'a "quoted" one']),
        "tags": st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
    },
)
few_vectors = st.sampled_from([np.array(each, np.float64) for each in [(1, 2, 2), (-4, 1, 0)]])
things = st.builds(
    Thing, item=st.sampled_from(["x", "y"]), vector=few_vectors | vectors, attributes=attributes
)
"""Often with the vector of another one: equal scores, and changes of nothing but attributes."""
conditions = st.none() | st.recursive(
    st.sampled_from(CONDITIONS),
    lambda inner: (
        st.builds(Condition.__and__, inner, inner) | st.builds(Condition.__or__, inner, inner)
    ),
    max_leaves=3,
)


Question: TypeAlias = tuple[Vector | str, Condition | None, int, float | None]
"""A vector or the id of an entity, a filter, top_k and min_score."""


class Service:
    """A search service on a Milvus of its own, driven from tests that know no event loop."""

    def __init__(self, milvus: MilvusProcess) -> None:
        self._milvus = milvus
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.client: SearchClient

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a call."""
        return self._runner.run(work)

    def start(self) -> None:
        """Start search, and connect to it."""
        self.run(self._start())

    def restart(self) -> None:
        """Stop search and start it again."""
        self.run(self._stack.aclose())
        self.start()

    def kill_milvus(self) -> None:
        """Kill Milvus and start it again; search stays."""
        self._milvus.kill()
        self._milvus.start()
        self.run(self._reconnect())

    def close(self) -> None:
        """End it all."""
        self.run(self._stack.aclose())
        self._runner.close()

    async def _start(self) -> None:
        server_settings = SearchServerSettings(
            port=0, metrics_port=None, drain_delay=timedelta(0), drain_grace=timedelta(seconds=2)
        )
        app = build(
            SearchSettings(
                server=server_settings,
                milvus=MilvusSettings(uri=self._milvus.uri, start_limit=timedelta(seconds=30)),
            )
        )
        server = await self._stack.enter_async_context(running(app))
        channel = await self._stack.enter_async_context(open_channel(loopback(server.port)))
        self.client = SearchClient(channel)

    async def _reconnect(self) -> None:
        """Ask until there is an answer: the client repeats what is UNAVAILABLE a few times only."""
        request = collection_service_pb2.ListCollectionsRequest()

        async def answers() -> bool:
            try:
                await self.client.collections.ListCollections(request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return True

        await assert_eventually(answers, 30)


class SearchMachine(RuleBasedStateMachine):
    """The calls. `service` is given by the test, and empty again after each run."""

    service: Service

    @initialize(
        metric=st.sampled_from(sorted(METRICS)),
        batch=st.lists(st.tuples(keys, things), min_size=10, max_size=20),
    )
    def begin(self, metric: str, batch: list[tuple[str, Thing]]) -> None:
        self.library = Library()
        self.killed = False
        self.create("one", metric)
        self.upsert(1, batch)

    # --- collections -----------------------------------------------------------------------

    @rule(name=names, metric=st.sampled_from(sorted(METRICS)))
    def create(self, name: str, metric: str) -> None:
        request = collection_service_pb2.CreateCollectionRequest(
            collection_id=name,
            collection=collection_pb2.Collection(
                vector_fields=[collection_pb2.VectorField(dimensions=3, metric=METRICS[metric])],
                attributes=ATTRIBUTES,
            ),
        )
        call = self._client.collections.CreateCollection(request)
        if name in self.library.names():
            assert self._refused(call) == "RESOURCE_EXISTS"
            return
        created: collection_pb2.Collection = self._run(call)
        assert created.name == f"collections/{name}"
        self.library.shelves[name] = Shelf(metric)

    @rule(name=names)
    def delete_collection(self, name: str) -> None:
        request = collection_service_pb2.DeleteCollectionRequest(name=f"collections/{name}")
        call = self._client.collections.DeleteCollection(request)
        if name not in self.library.shelves:
            assert self._refused(call) in {"RESOURCE_NOT_FOUND", "INVALID_FIELD"}
        elif name in self.library.aliases.values():
            assert self._refused(call) == "COLLECTION_NOT_READY"
        else:
            self._run(call)
            del self.library.shelves[name]

    @rule(alias=names, pick=picks)
    def set_alias(self, alias: str, pick: int) -> None:
        target, shelf = self._pick(pick)
        request = collection_service_pb2.SetAliasRequest(
            alias=collection_pb2.Alias(name=f"aliases/{alias}", collection=f"collections/{target}")
        )
        call = self._client.collections.SetAlias(request)
        if alias in self.library.shelves:
            assert self._refused(call) in {"RESOURCE_EXISTS", "RESOURCE_NOT_FOUND"}
        elif shelf is None:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
        else:
            real = self.library.aliases.get(target, target)
            assert self._run(call).collection == f"collections/{real}"
            self.library.aliases[alias] = real

    @rule(alias=names)
    def delete_alias(self, alias: str) -> None:
        request = collection_service_pb2.DeleteAliasRequest(name=f"aliases/{alias}")
        call = self._client.collections.DeleteAlias(request)
        if alias in self.library.aliases:
            self._run(call)
            del self.library.aliases[alias]
        else:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"

    # --- entities --------------------------------------------------------------------------

    @rule(pick=picks, batch=st.lists(st.tuples(keys, things), min_size=1, max_size=8))
    def upsert(self, pick: int, batch: list[tuple[str, Thing]]) -> None:
        name, shelf = self._pick(pick)
        where = f"collections/{name}"
        call = self._client.upsert(where, *(_message(where, key, thing) for key, thing in batch))
        if shelf is None:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
            return
        results = self._run(call).results
        expected = shelf.write(batch)
        assert [OUTCOMES[each.entity.outcome] for each in results] == [
            expected[key] for key, _ in batch
        ]

    @rule(pick=picks, bad=st.integers(0, 3), batch=st.lists(st.tuples(keys, things), max_size=4))
    def upsert_with_a_bad_one(self, pick: int, bad: int, batch: list[tuple[str, Thing]]) -> None:
        name, shelf = self._pick(pick)
        if shelf is None:
            return
        where = f"collections/{name}"
        messages = [_message(where, key, thing) for key, thing in batch]
        place = min(bad, len(messages))
        messages.insert(place, entity(where, "bad", 1.0, 2.0))
        results = list(self._run(self._client.upsert(where, *messages)).results)
        assert results.pop(place).HasField("error")
        expected = shelf.write(batch)
        assert [OUTCOMES[each.entity.outcome] for each in results] == [
            expected[key] for key, _ in batch
        ]

    @rule(pick=picks, key=keys, changed=attributes)
    def update(self, pick: int, key: str, changed: Attributes) -> None:
        name, shelf = self._pick(pick)
        where = f"collections/{name}"
        message = entity(where, key, attributes=_plain(changed))
        request = entity_service_pb2.UpdateEntityRequest(
            entity=message,
            update_mask=FieldMask(paths=[f"attributes.{each}" for each in changed]),
        )
        if not changed:
            return  # an empty mask has another meaning
        call = self._client.entities.UpdateEntity(request)
        if shelf is None or key not in shelf.things:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
            return
        shelf.set_attributes(key, changed)
        updated = self._run(call)
        expected = _message(where, key, shelf.things[key])
        assert MessageToDict(updated.attributes) == MessageToDict(expected.attributes)

    @rule(
        pick=picks,
        what=st.lists(keys, min_size=1, max_size=4)
        | st.sampled_from(["x", "y"])
        | st.sampled_from(CONDITIONS),
    )
    def delete(self, pick: int, what: list[str] | str | Condition) -> None:
        name, shelf = self._pick(pick)
        where = f"collections/{name}"
        match what:
            case Condition():
                call = self._client.delete(where, filter=what.text)
                gone = set(shelf.matching(what) if shelf else ())
            case str():
                item = entity_service_pb2.ItemSelector(item=what)
                call = self._client.delete(where, items=[item])
                things = shelf.things if shelf else {}
                gone = {key for key, thing in things.items() if thing.item == what}
            case _:
                call = self._client.delete(where, names=[f"{where}/entities/{key}" for key in what])
                gone = set(what) & set(shelf.things if shelf else ())
        if shelf is None:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
            return
        assert self._run(call) == len(gone)
        for key in gone:
            del shelf.things[key]

    # --- questions -------------------------------------------------------------------------

    @rule(pick=picks, key=keys)
    def get(self, pick: int, key: str) -> None:
        name, shelf = self._pick(pick)
        full = f"collections/{name}/entities/{key}"
        call = self._client.get(
            full,
            output_fields=["item", "attributes", "vectors"],
            vector_format=vector_pb2.VECTOR_FORMAT_VALUES,
        )
        if shelf is None or key not in shelf.things:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
            return
        found = self._run(call)
        expected = _message(f"collections/{name}", key, shelf.things[key])
        assert (found.name, found.item) == (full, expected.item)
        assert MessageToDict(found.attributes) == MessageToDict(expected.attributes)
        assert list(found.vectors["vector"].dense.values) == list(
            expected.vectors["vector"].dense.values
        )

    @rule(pick=picks, condition=conditions, page=st.integers(1, 7))
    def count_and_list(self, pick: int, condition: Condition | None, page: int) -> None:
        name, shelf = self._pick(pick)
        call = self._client.count(f"collections/{name}", condition.text if condition else "")
        if shelf is None:
            assert self._refused(call) == "RESOURCE_NOT_FOUND"
            return
        matching = sorted(shelf.matching(condition))
        assert self._run(call) == len(matching)
        assert self._run(self._listed(name, condition, page)) == matching

    @rule(
        pick=picks,
        questions=st.lists(
            st.tuples(
                vectors | keys,
                conditions,
                st.integers(1, 14),
                st.none() | st.floats(-0.5, 0.875, width=32),
            ),
            min_size=2,
            max_size=4,
        ),
    )
    def search(self, pick: int, questions: list[Question]) -> None:
        name, shelf = self._pick(pick)
        for like, condition, top_k, floor in questions:
            query = search_service_pb2.Query(min_score=floor)
            if isinstance(like, str):
                query.entity = f"collections/{name}/entities/{like}"
            else:
                query.vector.CopyFrom(dense(*like))
            call = self._client.search(
                f"collections/{name}",
                query,
                top_k=top_k,
                filter=condition.text if condition else "",
                consistency=STRONG,
            )
            if shelf is None or (isinstance(like, str) and like not in shelf.things):
                assert self._refused(call) == "RESOURCE_NOT_FOUND"
                continue
            vector = shelf.things[like].vector if isinstance(like, str) else like
            scores = shelf.scores(vector, condition)
            if isinstance(like, str):
                scores.pop(like, None)
            _check_hits(self._run(call).hits, scores, top_k, floor)

    # --- accidents -------------------------------------------------------------------------

    @rule()
    def restart_search(self) -> None:
        self.service.restart()

    @precondition(lambda self: not self.killed)
    @rule()
    def kill_milvus(self) -> None:
        self.killed = True
        self.service.kill_milvus()

    @invariant()
    def everything_is_there_once(self) -> None:
        if not hasattr(self, "library"):
            return
        for name in self.library.names():
            shelf = self.library.find(name)
            assert shelf is not None
            assert self._run(self._listed(name, None, 1000)) == sorted(shelf.things)
        aliases = self._run(
            self._client.collections.ListAliases(collection_service_pb2.ListAliasesRequest())
        ).aliases
        assert {each.name: each.collection for each in aliases} == {
            f"aliases/{alias}": f"collections/{target}"
            for alias, target in self.library.aliases.items()
        }

    def teardown(self) -> None:
        self._run(self._clear())

    # --- means -----------------------------------------------------------------------------

    @property
    def _client(self) -> SearchClient:
        return self.service.client

    def _pick(self, pick: int) -> tuple[str, Shelf | None]:
        """Return a name, and what it stands for."""
        there = sorted(self.library.names())
        name = there[pick % len(there)] if pick and there else "nowhere"
        return name, self.library.find(name)

    def _run(self, work: Any) -> Any:  # Any: calls of whatever type
        async def waiting() -> Any:
            return await work

        return self.service.run(waiting())

    def _refused(self, work: Any) -> str:  # Any: calls of whatever type
        return self.service.run(failure(work)).reason

    async def _listed(self, name: str, condition: Condition | None, page: int) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            reply = await self._client.entities.ListEntities(
                entity_service_pb2.ListEntitiesRequest(
                    collection=f"collections/{name}",
                    filter=condition.text if condition else "",
                    page_size=page,
                    page_token=token,
                    output_fields=["item"],
                )
            )
            found += [each.name.rpartition("/")[2] for each in reply.entities]
            token = reply.next_page_token
            if not token:
                return found

    async def _clear(self) -> None:
        for alias in self.library.aliases:
            await self._client.collections.DeleteAlias(
                collection_service_pb2.DeleteAliasRequest(name=f"aliases/{alias}")
            )
        reply = await self._client.collections.ListCollections(
            collection_service_pb2.ListCollectionsRequest()
        )
        for each in reply.collections:
            await self._client.collections.DeleteCollection(
                collection_service_pb2.DeleteCollectionRequest(name=each.name)
            )


def _message(where: str, key: str, thing: Thing) -> entity_pb2.Entity:
    values = _plain(thing.attributes)
    return entity(where, key, *thing.vector, attributes=values, item=thing.item)


def _plain(values: Attributes) -> dict[str, object]:
    """Return attributes in the form of JSON."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def _check_hits(
    hits: Sequence[search_service_pb2.Hit],
    scores: dict[str, float],
    top_k: int,
    floor: float | None,
) -> None:
    """Compare hits with all scores; what is as good as equal may come in any order."""
    found = [each.entity.name.rpartition("/")[2] for each in hits]
    assert len(set(found)) == len(found), "something is there twice"
    assert set(found) <= set(scores)
    for hit, key in zip(hits, found, strict=True):
        assert hit.score == pytest.approx(scores[key], abs=PRECISION, rel=PRECISION)
        assert floor is None or hit.score >= floor
    best = sorted(scores.values(), reverse=True)[:top_k]
    certain = [each for each in best if floor is None or each > floor + PRECISION]
    assert len(found) <= len(best)
    assert [each.score for each in hits][: len(certain)] == pytest.approx(
        certain, abs=PRECISION, rel=PRECISION
    )
    assert len(found) >= len(certain)


def test_any_calls_in_any_order(
    milvus_process: MilvusProcess, request: pytest.FixtureRequest
) -> None:
    usual = 12 if request.config.getoption("milvus") == "lite" else 5
    with milvus_process as milvus:
        service = Service(milvus)
        service.start()
        machine = type("Machine", (SearchMachine,), {"service": service})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=EXAMPLES or usual,
                    stateful_step_count=40,
                    derandomize=not EXAMPLES,
                    database=None,
                    # Making a failure smaller would take minutes of real calls.
                    phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            service.close()
