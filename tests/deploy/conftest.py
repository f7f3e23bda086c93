"""Rendered overlays, shared by the tests of manifests."""

from __future__ import annotations

import pytest

from tools.manifest_lint import Manifests
from tools.render import render


@pytest.fixture(scope="session")
def local() -> Manifests:
    return Manifests.parse(render("local"))
