"""The service config that all clients use."""

import json
from pathlib import Path

from lookalike_client._channel import service_config

PUBLISHED = Path(__file__).parents[3] / "clients" / "service-config.json"


def test_the_published_file_is_the_packages_own() -> None:
    assert json.loads(PUBLISHED.read_text()) == json.loads(service_config())


def test_it_balances_retries_and_checks_health() -> None:
    config = json.loads(service_config())
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["healthCheckConfig"] == {"serviceName": ""}
    assert config["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_uploads_are_not_repeated_by_grpc() -> None:
    upload = json.loads(service_config())["methodConfig"][1]
    assert upload["name"][0]["method"] == "UploadChunk"
    assert "retryPolicy" not in upload


def test_health_checks_can_be_left_out() -> None:
    assert "healthCheckConfig" not in json.loads(service_config(health_checked=False))
