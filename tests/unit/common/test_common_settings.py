"""Settings: environment, units, safety of open ports, redaction."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from lookalike_common.settings import (
    AuthSettings,
    ServerSettings,
    ServiceSettings,
    TargetSettings,
    is_loopback,
    redacted,
)


class SampleSettings(ServiceSettings):
    model_config = ServiceSettings.configured("LOOKALIKE_SAMPLE__")

    server: ServerSettings = ServerSettings(port=50099)
    search: TargetSettings = TargetSettings(address="127.0.0.1:50052")


def test_the_environment_reaches_nested_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SERVER__MAX_MESSAGE_BYTES", "8MiB")
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SERVER__DRAIN_GRACE", "PT3S")
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SEARCH__ADDRESS", "search:1")
    monkeypatch.setenv("LOOKALIKE_SAMPLE__TELEMETRY__LOG_LEVEL", "DEBUG")
    settings = SampleSettings()
    assert settings.server.max_message_bytes == 8 * 1024 * 1024
    assert settings.server.drain_grace == timedelta(seconds=3)
    assert settings.search.address == "search:1"
    assert settings.telemetry.log_level == "DEBUG"
    assert settings.server.port == 50099


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("3", 3),
        ("20m", 1200),
        ("2h", 7200),
        ("PT5S", 5),
        ("1d", 86400),
    ],
)
def test_durations_may_be_written_as_people_do(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SERVER__DRAIN_GRACE", text)
    assert SampleSettings().server.drain_grace.total_seconds() == seconds


@pytest.mark.parametrize("text", ["-1s", "soon", "1 s", ""])
def test_other_durations_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SERVER__DRAIN_GRACE", text)
    with pytest.raises(ValidationError):
        SampleSettings()


def test_settings_are_frozen_and_strict_about_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        SampleSettings().server.port = 1
    monkeypatch.setenv("LOOKALIKE_SAMPLE__SERVER__PROT", "1")
    with pytest.raises(ValidationError, match="prot"):
        SampleSettings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example", ""])  # noqa: S104 - refused
def test_an_open_port_needs_auth_or_consent(host: str) -> None:
    with pytest.raises(ValidationError, match="insecure=true"):
        ServerSettings(host=host)
    ServerSettings(host=host, insecure=True)
    ServerSettings(host=host, auth=AuthSettings(tokens_file=Path("tokens.yaml")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    ServerSettings(host=host)


def test_redacted_shows_no_secret() -> None:
    class Inner(BaseModel):
        key: SecretStr = SecretStr("hunter2")
        url: str = "postgresql://user:hunter2@db/jobs"
        plain: str = "http://host/path"
        waits: timedelta = timedelta(seconds=1.5)
        roots: tuple[Path, ...] = (Path("a"),)

    shown = json.dumps(redacted(Inner()))
    assert "hunter2" not in shown
    assert json.loads(shown) == {
        "key": "**********",
        "url": "postgresql://***@db/jobs",
        "plain": "http://host/path",
        "waits": "1.5s",
        "roots": ["a"],
    }
    json.dumps(redacted(SampleSettings()))
