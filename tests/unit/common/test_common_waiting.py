"""Waiting in tests."""

import itertools

import pytest

from lookalike_common.context import NO_REQUEST, RequestContext, current_context, use_context
from lookalike_common.testing import assert_eventually, free_port


async def test_it_returns_once_the_condition_holds() -> None:
    count = itertools.count()
    await assert_eventually(lambda: next(count) > 3, interval=0)

    async def later() -> bool:
        return next(count) > 8

    await assert_eventually(later, interval=0)


async def test_it_shows_the_last_failed_assertion() -> None:
    def never() -> bool:
        raise AssertionError("still 3")

    with pytest.raises(AssertionError, match=r"not true within 0\.02 s") as caught:
        await assert_eventually(never, timeout=0.02)
    assert "still 3" in str(caught.value.__cause__)


def test_contexts_nest() -> None:
    assert current_context() is NO_REQUEST
    with use_context(RequestContext(request_id="a")):
        with use_context(RequestContext(request_id="b")):
            assert current_context().request_id == "b"
        assert current_context().request_id == "a"
    assert current_context().remaining() is None


def test_free_port() -> None:
    assert 0 < free_port() < 65536
