"""How settings reach the service."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lookalike_common.settings import redacted
from lookalike_ingest.settings import IngestSettings, Role

URL = "postgresql://me:hidden@db/jobs"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKALIKE_INGEST__SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_secrets_come_from_files(secrets: Path) -> None:
    (secrets / "LOOKALIKE_INGEST__DATABASE_URL").write_text(f"{URL}\n", encoding="utf-8")
    settings = IngestSettings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == URL
    assert "hidden" not in str(redacted(settings))


def test_variables_come_before_files(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "LOOKALIKE_INGEST__ROLE").write_text("worker", encoding="utf-8")
    (secrets / "LOOKALIKE_INGEST__DATABASE_URL").write_text(URL, encoding="utf-8")
    assert IngestSettings().role is Role.WORKER
    monkeypatch.setenv("LOOKALIKE_INGEST__ROLE", "api")
    assert IngestSettings().role is Role.API


def test_a_role_of_its_own_needs_a_database() -> None:
    with pytest.raises(ValidationError, match="needs a database_url"):
        IngestSettings(role=Role.WORKER)
