"""The services understand every setting that the manifests give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tools.manifest_lint import Manifests

SERVICES = ("encoder", "search", "ingest", "gateway")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_knows_its_settings(local: Manifests, service: str) -> None:
    (container,) = [each for each in local.containers if each.spec["name"] == service]
    environment = local.environment(container)
    result = subprocess.run(
        [sys.executable, "-m", f"lookalike_{service}", "config"],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    config = json.loads(result.stdout)
    prefix = f"LOOKALIKE_{service.upper()}__"
    given = [name.removeprefix(prefix) for name in environment if name.startswith("LOOKALIKE_")]
    assert given
    for name in given:
        found = config
        for part in name.lower().split("__"):
            assert part in found, f"{service} has no setting {name}"
            found = found[part]
    assert config["server"]["host"] == "0.0.0.0"  # noqa: S104 - a pod is called by its address


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_refuses_an_open_door_that_nobody_asked_for(
    local: Manifests, service: str
) -> None:
    (container,) = [each for each in local.containers if each.spec["name"] == service]
    environment = dict(local.environment(container))
    del environment[f"LOOKALIKE_{service.upper()}__SERVER__INSECURE"]
    result = subprocess.run(
        [sys.executable, "-m", f"lookalike_{service}", "config"],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "insecure" in result.stderr
