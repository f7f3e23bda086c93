"""The rendered overlays fit the schemas of several Kubernetes versions and our own rules."""

from __future__ import annotations

import kubernetes_validate
import pytest

from tools.manifest_lint import Manifests, lint

VERSIONS = ("1.30", "1.32", "1.37")


@pytest.fixture(params=["local", "documented"])
def overlay(request: pytest.FixtureRequest) -> Manifests:
    manifests: Manifests = request.getfixturevalue(request.param)
    return manifests


@pytest.mark.parametrize("version", VERSIONS)
def test_an_overlay_fits_the_schemas(overlay: Manifests, version: str) -> None:
    for document in overlay.documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_refuse_an_unknown_field(local: Manifests) -> None:
    deployment = dict(local.of_kind("Deployment")[0])
    deployment["spec"] = {**deployment["spec"], "replica": 2}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.32", strict=True)


def test_the_linter_finds_nothing_in_an_overlay(overlay: Manifests) -> None:
    assert lint(overlay) == []


def test_the_local_overlay_has_the_whole_suite(local: Manifests) -> None:
    names = {workload.where for workload in local.workloads}
    assert names == {
        "Deployment/encoder",
        "Deployment/search",
        "Deployment/gateway",
        "StatefulSet/ingest",
        "StatefulSet/milvus",
    }
    assert {each["metadata"].get("namespace") for each in local.documents} == {"lookalike", None}


def test_milvus_lite_has_one_worker(local: Manifests) -> None:
    (container,) = [each for each in local.containers if each.spec["name"] == "milvus"]
    assert "--max-workers=1" in container.spec["args"]
