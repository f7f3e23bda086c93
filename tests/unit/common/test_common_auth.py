"""Tokens, tenants and scopes."""

import re
from pathlib import Path

import pytest

from lookalike_common.auth import METHOD_SCOPES, Tokens, required_scope
from lookalike_common.descriptors import load_image
from lookalike_common.errors import PermissionDeniedError, UnauthenticatedError
from lookalike_encoder.adapters.inference_files import inference_files

TOKENS = """
- {token: reader-0123456789, tenant: acme, scopes: [read]}
- {token: writer-0123456789, tenant: acme, scopes: [write]}
- {token: ingest-0123456789, scopes: [write, service]}
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    path = tmp_path / "tokens.yaml"
    path.write_text(TOKENS)
    return Tokens.load(path)


def documented_scopes() -> dict[str, str]:
    """Return the scope of each rpc of the suite, as its comment says."""
    scopes = {}
    for file in [*load_image().file, *inference_files()]:
        if not file.name.startswith(("lookalike/", "inference/")):
            continue
        comments = {
            tuple(each.path): each.leading_comments for each in file.source_code_info.location
        }
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                comment = comments[6, s, 2, m]
                found = re.search(r"Scope:\s+(\w+)", comment)
                scopes[method.name] = found[1] if found else "read"
    del scopes["GetServerInfo"]
    return scopes


def test_scopes_are_those_the_protos_document() -> None:
    documented = documented_scopes()
    assert {rpc: required_scope(rpc) for rpc in documented} == documented
    listed = set().union(*METHOD_SCOPES.values())
    assert listed <= set(documented)


def test_an_unlisted_rpc_needs_the_highest_scope() -> None:
    assert required_scope("FormatDisk") == "admin"


def test_scopes_include_lower_ones(tokens: Tokens) -> None:
    identity = tokens.identify({"authorization": "Bearer writer-0123456789"})
    assert identity.tenant == "acme"
    assert identity.scopes == {"read", "write"}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer reader", "Basic reader-0123456789", "x", b"\xff"]
)
def test_without_a_valid_token_nobody_is_known(tokens: Tokens, header: str | bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        tokens.identify({"authorization": header})
    with pytest.raises(UnauthenticatedError):
        tokens.identify({})


def test_only_services_act_for_tenants(tokens: Tokens) -> None:
    headers = {"authorization": "bearer ingest-0123456789", "x-lookalike-tenant": "other"}
    assert tokens.identify(headers).tenant == "other"
    headers["authorization"] = "Bearer writer-0123456789"
    with pytest.raises(PermissionDeniedError):
        tokens.identify(headers)
    headers["x-lookalike-tenant"] = "acme"
    assert tokens.identify(headers).tenant == "acme"


@pytest.mark.parametrize(
    "text",
    [
        "token: not-a-list",
        "- {token: hunter2-hunter2-hunter2, scopes: [root]}",
        "- {token: hunter2, scopes: [read]}",
        "- {token: hunter2-hunter2-hunter2, tenant: ../x, scopes: [read]}",
        "- hunter2: [",
        "",
    ],
)
def test_a_wrong_file_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"tokens\.yaml is no") as caught:
        Tokens.load(path)
    assert "hunter2" not in str(caught.value)
