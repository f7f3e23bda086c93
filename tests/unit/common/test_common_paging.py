"""Page tokens."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_common.errors import InvalidPageTokenError
from lookalike_common.paging import decode_page_token, encode_page_token

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


@given(st.lists(scalars), st.binary(), st.text())
def test_tokens_round_trip(position: list[str | int | float | None], raw: bytes, name: str) -> None:
    token = encode_page_token(position, raw, name)
    assert decode_page_token(token, raw, name) == position
    assert token.isascii()
    assert "=" not in token


def test_the_empty_token_is_the_first_page() -> None:
    assert decode_page_token("", "anything") is None


def test_a_token_belongs_to_its_request() -> None:
    token = encode_page_token(["x", 1], "collections/a", {"filter": "b"})
    with pytest.raises(InvalidPageTokenError, match="another request") as caught:
        decode_page_token(token, "collections/a", {"filter": "c"})
    assert caught.value.field == "page_token"


def _forged(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "!",
        "a",
        "AAAA",
        "ä" * 8,
        "[" * 7000,
        "x" * 100_000,
        _forged([2, "0" * 16, []]),
        _forged({"a": 1}),
        _forged([1, "x", [{}]]),
        _forged([1, 2, []]),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
    ],
)
def test_damaged_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidPageTokenError):
        decode_page_token(token)


@given(st.text())
def test_no_text_breaks_it(token: str) -> None:
    try:
        decode_page_token(token)
    except InvalidPageTokenError:
        return
    assert token == ""
