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


def test_a_file_and_a_variable_may_each_say_a_part(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = '{"store": {"prefix": "s3://originals/", "credentials": {"secret_access_key": "xyz"}}}'
    (secrets / "LOOKALIKE_INGEST__ASSETS").write_text(store, encoding="utf-8")
    monkeypatch.setenv("LOOKALIKE_INGEST__ASSETS__MAX_BYTES", "5")
    assets = IngestSettings().assets
    assert assets.store is not None
    assert (assets.store.prefix, assets.max_bytes) == ("s3://originals/", 5)
    assert "xyz" not in str(redacted(IngestSettings()))


def test_a_role_of_its_own_needs_a_database() -> None:
    with pytest.raises(ValidationError, match="needs a database_url"):
        IngestSettings(role=Role.WORKER)
