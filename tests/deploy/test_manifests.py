"""The rendered overlays fit the schemas of several Kubernetes versions and our own rules."""

from __future__ import annotations

import kubernetes_validate
import pytest
from prometheus_client import CollectorRegistry

from lookalike_ingest.metrics import JobMetrics
from tools.manifest_lint import Manifests, lint

VERSIONS = ("1.30", "1.32", "1.37")


@pytest.fixture(params=["local", "documented", "shared"])
def overlay(request: pytest.FixtureRequest) -> Manifests:
    manifests: Manifests = request.getfixturevalue(request.param)
    return manifests


@pytest.mark.parametrize("version", VERSIONS)
def test_an_overlay_fits_the_schemas(overlay: Manifests, version: str) -> None:
    for document in overlay.documents:
        if document["kind"] == "ScaledObject":  # KEDA's, which Kubernetes has no schema of
            continue
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


def test_with_workers_ingest_holds_nothing(shared: Manifests) -> None:
    assert shared.find("StatefulSet", "ingest") is None
    roles = {
        each.workload.where: shared.environment(each)["LOOKALIKE_INGEST__ROLE"]
        for each in shared.containers
        if each.spec["image"].startswith("images.example/lookalike/ingest")
    }
    assert roles == {"Deployment/ingest": "api", "Deployment/ingest-worker": "worker"}
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for workload in shared.workloads
        if workload.name in {"ingest", "ingest-worker"}
        for volume in workload.volumes.values()
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"ingest-assets"}


def test_who_calls_ingest_reaches_no_worker(shared: Manifests) -> None:
    service = shared.find("Service", "ingest")
    assert service is not None
    assert [each.where for each in shared.selected_by(service)] == ["Deployment/ingest"]


def test_workers_are_as_many_as_there_is_work(shared: Manifests) -> None:
    (scaler,) = shared.of_kind("ScaledObject")
    assert scaler["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"name": "ingest-worker"}
    assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert {"serverAddress", "query", "threshold"} == trigger["metadata"].keys()
    registry = CollectorRegistry()
    JobMetrics(registry)
    assert trigger["metadata"]["query"] in {f"max({metric.name})" for metric in registry.collect()}
    assert all(isinstance(each, str) for each in trigger["metadata"].values())  # KEDA wants texts
