"""What suites of ingestion begin with that take minutes: peers, and a folder that jobs may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ingest_peers import Peers


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder
