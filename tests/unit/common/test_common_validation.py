"""Violations of the protos' rules in our words."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf.message import Message

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.search.v1 import (
    collection_service_pb2,
    entity_pb2,
    entity_service_pb2,
    search_service_pb2,
)
from lookalike.type.v1 import content_pb2, vector_pb2
from lookalike_common.errors import InvalidArgumentError
from lookalike_common.validation import RequestValidator

EncodeRequest = encoder_service_pb2.EncodeRequest
Item = encoder_service_pb2.EncodeItem
SearchRequest = search_service_pb2.SearchRequest
Query = search_service_pb2.Query


@pytest.fixture(scope="module")
def validator() -> RequestValidator:
    return RequestValidator()


def refused(validator: RequestValidator, message: Message) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        validator.check(message)
    return caught.value


def test_paths_have_indexes(validator: RequestValidator) -> None:
    good = Item(content=content_pb2.Content(text="x"))
    request = EncodeRequest(encoder="encoders/a", items=[good, Item()])
    assert refused(validator, request).field == "items[1].content"


def test_a_missing_oneof_is_named(validator: RequestValidator) -> None:
    request = SearchRequest(collection="collections/a", queries=[Query()])
    error = refused(validator, request)
    assert error.field == "queries[0].source"
    assert "required" in error.message


def test_all_violations_are_told(validator: RequestValidator) -> None:
    error = refused(validator, SearchRequest())
    assert {each.field for each in error.violations} == {"collection", "queries"}
    assert "(and 1 more)" in error.message


def test_a_rule_of_a_whole_message_has_its_text(validator: RequestValidator) -> None:
    error = refused(validator, entity_service_pb2.DeleteEntitiesRequest(collection="collections/a"))
    assert error.message
    assert error.violations
    assert error.violations[0].description == error.message


def test_a_rule_of_a_nested_message_has_its_place(validator: RequestValidator) -> None:
    odd = vector_pb2.Vector(dense=vector_pb2.DenseVector(dimensions=7))
    request = SearchRequest(collection="collections/a", queries=[Query(vector=odd)])
    error = refused(validator, request)
    assert error.field == "queries[0].vector.dense"
    assert error.message == "exactly one of data and values must be filled"


def test_map_keys_are_quoted(validator: RequestValidator) -> None:
    entity = entity_pb2.Entity(item="a")
    entity.vectors["vector"].SetInParent()
    assert refused(validator, entity).field == 'vectors["vector"].kind'


def test_warm_up_compiles_and_threads_may_share_it(validator: RequestValidator) -> None:
    validator.warm_up([SearchRequest, collection_service_pb2.CreateCollectionRequest])
    wrong = EncodeRequest(encoder="encoders/a", items=[Item()] * 200)

    def check(_number: int) -> str:
        return refused(validator, wrong).field

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(check, range(50))) == {"items[0].content"}
