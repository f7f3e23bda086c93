"""What words can be indexed, by backend."""

from __future__ import annotations

from typing import Final

import pytest

from lookalike_common.errors import InvalidArgumentError, LookalikeError, UnsupportedByBackendError
from lookalike_search.adapters.milvus.capabilities import dialect_of
from lookalike_search.commands.keyword_indexes import check_keyword_indexes
from lookalike_search.model import AttributeSpec, AttributeType

LITE: Final = "milvus-lite-3.2.2"
TITLE: Final = AttributeSpec(
    name="title", type=AttributeType.STRING, full_text=True, analyzer="standard"
)
PLAIN: Final = AttributeSpec(name="plain", type=AttributeType.STRING)


def check(version: str, text: str = "", *attributes: AttributeSpec, vector_fields: int = 1) -> None:
    capabilities = dialect_of(version).capabilities
    check_keyword_indexes(text, attributes, capabilities, vector_fields=vector_fields)


def refusal(
    version: str, text: str = "", *attributes: AttributeSpec, vector_fields: int = 1
) -> LookalikeError:
    with pytest.raises(LookalikeError) as caught:
        check(version, text, *attributes, vector_fields=vector_fields)
    return caught.value


@pytest.mark.parametrize("version", ["v2.3.5", "2.4.23", "unheard of"])
def test_servers_without_keyword_queries_refuse_them_by_name(version: str) -> None:
    check(version, "", PLAIN)
    text = refusal(version, "standard")
    assert type(text) is UnsupportedByBackendError
    assert text.field == "collection.text_index"
    assert "keyword" in text.message
    assert refusal(version, "", PLAIN, TITLE).field == "collection.attributes[1].full_text"


def test_analyzers_by_backend() -> None:
    for analyzer in ("standard", "english", "chinese"):
        check("v2.5.4", analyzer)
        check("3.0.1", analyzer)
    check(LITE, "standard", TITLE)
    for analyzer in ("english", "Standard", "jieba", '"}'):
        refused = refusal(LITE, analyzer)
        assert type(refused) is UnsupportedByBackendError
        assert refused.field == "collection.text_index.analyzer"
        assert "standard" in refused.message
    english = AttributeSpec(
        name="body", type=AttributeType.STRING, full_text=True, analyzer="english"
    )
    assert refusal(LITE, "", english).field == "collection.attributes[0].analyzer"


def test_indexes_take_the_room_of_vector_fields() -> None:
    check(LITE, "standard", TITLE, vector_fields=6)
    refused = refusal(LITE, "standard", TITLE, vector_fields=7)
    assert type(refused) is UnsupportedByBackendError
    assert refused.field == "collection.attributes[0].full_text"
    assert refusal(LITE, "standard", TITLE, vector_fields=8).field == "collection.text_index"
    check(LITE, "", PLAIN, vector_fields=8)


@pytest.mark.parametrize("kind", sorted(set(AttributeType) - {AttributeType.STRING}))
def test_only_strings_have_words(kind: AttributeType) -> None:
    attribute = AttributeSpec(name="a", type=kind, full_text=True, analyzer="standard")
    refused = refusal(LITE, "", attribute)
    assert type(refused) is InvalidArgumentError
    assert refused.field == "collection.attributes[0].full_text"
