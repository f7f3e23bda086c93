"""Fixtures of all suites: the real programs that more than one of them needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.milvus_lite import MilvusLite

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything loads ONNX Runtime


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    """A Milvus Lite server for tests that leave each other alone and never stop it."""
    with MilvusLite(tmp_path_factory.mktemp("milvus-lite")) as server:
        yield server
