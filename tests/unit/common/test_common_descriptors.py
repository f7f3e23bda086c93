"""The descriptor image."""

import pytest

from lookalike_common.descriptors import DescriptorIndex


@pytest.fixture(scope="module")
def index() -> DescriptorIndex:
    return DescriptorIndex.shipped()


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("lookalike.search.v1.SearchService", "lookalike/search/v1/search_service.proto"),
        ("lookalike.search.v1.SearchService.Search", "lookalike/search/v1/search_service.proto"),
        ("lookalike.search.v1.SearchRequest.queries", "lookalike/search/v1/search_service.proto"),
        ("lookalike.type.v1.ERROR_REASON_INTERNAL", "lookalike/type/v1/error.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
        ("google.protobuf.Struct", "google/protobuf/struct.proto"),
    ],
)
def test_symbols_lead_to_files(index: DescriptorIndex, symbol: str, file: str) -> None:
    found = index.file_with_symbol(symbol)
    assert found is not None
    assert found.name == file
    assert found.source_code_info.location


def test_unknown_names_lead_nowhere(index: DescriptorIndex) -> None:
    assert index.file_with_symbol("lookalike.Nothing") is None
    assert index.file("nothing.proto") is None
    assert index.file_with_extension("google.protobuf.MethodOptions", 1) is None
    assert index.file_with_extension("lookalike.Nothing", 1) is None
    assert index.extension_numbers("lookalike.Nothing") is None


def test_extensions(index: DescriptorIndex) -> None:
    found = index.file_with_extension("google.protobuf.MethodOptions", 72295728)
    assert found is not None
    assert found.name == "google/api/annotations.proto"
    numbers = index.extension_numbers("google.protobuf.FieldOptions")
    assert numbers is not None
    assert {1052, 1159} <= set(numbers)


def test_a_closure_is_complete(index: DescriptorIndex) -> None:
    start = index.file("lookalike/search/v1/search_service.proto")
    assert start is not None
    closure = index.closure(start)
    names = {each.name for each in closure}
    assert closure[0] is start
    assert len(names) == len(closure)
    assert all(set(each.dependency) <= names for each in closure)
