"""The service config that channels use."""

from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_services_and_published_clients_share_one_service_config() -> None:
    ours = files("lookalike_common").joinpath("service_config.json").read_text()
    assert ours == (ROOT / "clients" / "service-config.json").read_text()
