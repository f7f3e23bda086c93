"""The services understand every setting that the manifests give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from lookalike_common.settings import is_loopback
from tools.manifest_lint import Manifests

SERVICES = ("encoder", "search", "ingest", "gateway")


def environment_of(overlay: Manifests, service: str) -> dict[str, str]:
    (container,) = [each for each in overlay.containers if each.spec["name"] == service]
    return dict(overlay.environment(container))


def config(service: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Ask the service itself what it makes of its settings."""
    return subprocess.run(
        [sys.executable, "-m", f"lookalike_{service}", "config"],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("overlay", ["local", "documented"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_its_settings(
    request: pytest.FixtureRequest, overlay: str, service: str
) -> None:
    environment = environment_of(request.getfixturevalue(overlay), service)
    result = config(service, environment)
    assert result.returncode == 0, result.stderr
    effective = json.loads(result.stdout)
    prefix = f"LOOKALIKE_{service.upper()}__"
    given = [name.removeprefix(prefix) for name in environment if name.startswith("LOOKALIKE_")]
    assert given
    for name in given:
        found = effective
        for part in name.lower().split("__"):
            assert part in found, f"{service} has no setting {name}"
            found = found[part]
    assert not is_loopback(effective["server"]["host"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_refuses_an_open_door_that_nobody_asked_for(
    local: Manifests, service: str
) -> None:
    environment = environment_of(local, service)
    del environment[f"LOOKALIKE_{service.upper()}__SERVER__INSECURE"]
    result = config(service, environment)
    assert result.returncode == 2
    assert "insecure" in result.stderr
