"""The services understand every setting that the manifests give them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from lookalike_common.settings import ServiceSettings, is_loopback, redacted
from lookalike_encoder.settings import EncoderSettings
from lookalike_gateway.settings import GatewaySettings
from lookalike_ingest.settings import IngestSettings, Role
from lookalike_search.settings import SearchSettings
from tests.deploy.conftest import INGEST_SECRETS
from tools.manifest_lint import Manifests

SETTINGS: dict[str, type[ServiceSettings]] = {
    "encoder": EncoderSettings,
    "search": SearchSettings,
    "ingest": IngestSettings,
    "gateway": GatewaySettings,
}


@pytest.fixture(params=SETTINGS)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)


def settings_in(overlay: Manifests, service: str) -> dict[str, str]:
    (container,) = [each for each in overlay.containers if each.spec["name"] == service]
    variables = overlay.environment(container).items()
    return {name: value for name, value in variables if name.startswith("LOOKALIKE_")}


@pytest.mark.parametrize("overlay", ["local", "documented", "shared"])
def test_a_service_knows_its_settings(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    overlay: str,
    service: str,
) -> None:
    given = settings_in(request.getfixturevalue(overlay), service)
    assert given
    given |= _secrets(given, tmp_path)
    settings = _understood(monkeypatch, service, given)
    assert not is_loopback(settings.server.host)


def test_a_worker_knows_its_settings(
    monkeypatch: pytest.MonkeyPatch, shared: Manifests, tmp_path: Path
) -> None:
    given = settings_in(shared, "ingest-worker")
    given |= _secrets(given, tmp_path)
    settings = _understood(monkeypatch, "ingest", given)
    assert isinstance(settings, IngestSettings)
    assert settings.role is Role.WORKER
    assert [each.prefix for each in settings.stores] == ["s3://photos/shared/"]


def _secrets(given: dict[str, str], folder: Path) -> dict[str, str]:
    """Where the secrets are that a pod would find, if it is given any."""
    if "LOOKALIKE_INGEST__SECRETS_DIR" not in given:
        return {}
    assert given["LOOKALIKE_INGEST__SECRETS_DIR"] == "/run/lookalike/ingest"
    for name, value in INGEST_SECRETS.items():
        (folder / name).write_text(value)
    return {"LOOKALIKE_INGEST__SECRETS_DIR": str(folder)}


def _understood(
    monkeypatch: pytest.MonkeyPatch, service: str, given: dict[str, str]
) -> ServiceSettings:
    """The settings, after each that was given was found in them."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = SETTINGS[service]()
    effective = redacted(settings)
    for name in given:
        found: object = effective
        for part in name.removeprefix(f"LOOKALIKE_{service.upper()}__").lower().split("__"):
            assert isinstance(found, dict), name
            assert part in found, f"{service} has no setting {name}"
            found = found[part]
    return settings


def test_a_service_refuses_an_open_door_that_nobody_asked_for(
    monkeypatch: pytest.MonkeyPatch, local: Manifests, service: str
) -> None:
    given = settings_in(local, service)
    assert given.pop(f"LOOKALIKE_{service.upper()}__SERVER__INSECURE") == "true"
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="insecure"):
        SETTINGS[service]()
