"""Every rule of the linter finds the fault it is for.

Each case breaks the rendered local overlay in one place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tools.manifest_lint import Manifests, lint
from tools.manifest_lint.rules import RULES

Json = dict[str, Any]  # parsed YAML, to be broken at will


class Overlay:
    """The rendered overlay, open to changes."""

    def __init__(self, manifests: Manifests) -> None:
        self.documents: list[Json] = [copy.deepcopy(dict(each)) for each in manifests.documents]

    def get(self, kind: str, name: str) -> Json:
        return next(
            each
            for each in self.documents
            if each["kind"] == kind and each["metadata"]["name"] == name
        )

    def spec(self, kind: str, name: str) -> Json:
        spec: Json = self.get(kind, name)["spec"]
        return spec

    def pod(self, name: str, kind: str = "Deployment") -> Json:
        pod: Json = self.spec(kind, name)["template"]["spec"]
        return pod

    def container(self, name: str, kind: str = "Deployment") -> Json:
        container: Json = self.pod(name, kind)["containers"][0]
        return container

    def settings(self, name: str) -> Json:
        data: Json = next(
            each["data"]
            for each in self.documents
            if each["kind"] == "ConfigMap" and each["metadata"]["name"].startswith(f"{name}-")
        )
        return data

    def remove(self, kind: str, name: str) -> None:
        self.documents.remove(self.get(kind, name))

    def add(self, **document: Any) -> None:
        self.documents.append(document)


Fault = Callable[[Overlay], object]
CASES: list[tuple[str, str, Fault]] = []


def fault(rule: str, where: str) -> Callable[[Fault], Fault]:
    """Register a way to break the overlay, the rule that must say so, and where."""

    def register(function: Fault) -> Fault:
        CASES.append((rule, where, function))
        return function

    return register


# names


@fault("object_names", "ServiceAccount/Encoder_1")
def bad_name(overlay: Overlay) -> None:
    overlay.get("ServiceAccount", "encoder")["metadata"]["name"] = "Encoder_1"
    overlay.pod("encoder")["serviceAccountName"] = "Encoder_1"


@fault("object_names", "Service/search")
def object_twice(overlay: Overlay) -> None:
    overlay.documents.append(overlay.get("Service", "search"))


@fault("selectors", "Deployment/search")
def selector_without_pods(overlay: Overlay) -> None:
    overlay.spec("Deployment", "search")["selector"]["matchLabels"] = {"app": "serach"}


@fault("selectors", "Deployment/search")
def selector_of_all_pods(overlay: Overlay) -> None:
    overlay.spec("Deployment", "search")["selector"]["matchLabels"] = {
        "app.kubernetes.io/part-of": "lookalike"
    }


@fault("selectors", "Deployment/search")
def label_of_another(overlay: Overlay) -> None:
    labels = overlay.get("Deployment", "search")["metadata"]["labels"]
    labels["app.kubernetes.io/name"] = "milvus"


@fault("service_links", "Deployment/search")
def service_links(overlay: Overlay) -> None:
    del overlay.pod("search")["enableServiceLinks"]


# references


@fault("referenced_objects", "Deployment/search")
def missing_account(overlay: Overlay) -> None:
    overlay.remove("ServiceAccount", "search")


@fault("referenced_objects", "Deployment/search:search")
def missing_config_map(overlay: Overlay) -> None:
    overlay.container("search")["envFrom"][0]["configMapRef"]["name"] = "suite-0123456789"


@fault("referenced_objects", "Deployment/search:search")
def missing_key(overlay: Overlay) -> None:
    name = overlay.container("search")["envFrom"][0]["configMapRef"]["name"]
    reference = {"configMapKeyRef": {"name": name, "key": "ABSENT"}}
    overlay.container("search")["env"] = [{"name": "X", "valueFrom": reference}]


@fault("referenced_objects", "Deployment/search")
def missing_secret(overlay: Overlay) -> None:
    overlay.pod("search")["volumes"][0] = {"name": "tmp", "secret": {"secretName": "tokens"}}


@fault("referenced_objects", "Deployment/search")
def missing_claim(overlay: Overlay) -> None:
    claim = {"persistentVolumeClaim": {"claimName": "models"}}
    overlay.pod("search")["volumes"][0] = {"name": "tmp", **claim}


@fault("referenced_objects", "StatefulSet/ingest")
def missing_governing_service(overlay: Overlay) -> None:
    overlay.spec("StatefulSet", "ingest")["serviceName"] = "ingest-pods"


@fault("volume_mounts", "Deployment/encoder:encoder")
def mount_of_nothing(overlay: Overlay) -> None:
    overlay.container("encoder")["volumeMounts"][1]["name"] = "model"


@fault("volume_mounts", "Deployment/search")
def volume_for_nobody(overlay: Overlay) -> None:
    overlay.pod("search")["volumes"].append({"name": "x", "emptyDir": {"sizeLimit": "1Mi"}})


# services and probes


@fault("service_targets", "Service/search")
def service_without_pods(overlay: Overlay) -> None:
    overlay.spec("Service", "search")["selector"] = {"app.kubernetes.io/name": "serach"}


@fault("service_targets", "Service/search")
def service_to_closed_port(overlay: Overlay) -> None:
    overlay.spec("Service", "search")["ports"][1]["targetPort"] = 9191


@fault("headless_grpc", "Service/search")
def cluster_address(overlay: Overlay) -> None:
    del overlay.spec("Service", "search")["clusterIP"]


@fault("headless_grpc", "Service/search")
def protocol_untold(overlay: Overlay) -> None:
    del overlay.spec("Service", "search")["ports"][0]["appProtocol"]


@fault("probe_ports", "Deployment/search:search")
def probe_of_closed_port(overlay: Overlay) -> None:
    overlay.container("search")["readinessProbe"]["grpc"]["port"] = 50051


@fault("probe_ports", "Deployment/gateway:gateway")
def probe_of_unknown_port(overlay: Overlay) -> None:
    overlay.container("gateway")["readinessProbe"]["httpGet"]["port"] = "https"


@fault("probe_ports", "Deployment/search:search")
def no_readiness(overlay: Overlay) -> None:
    del overlay.container("search")["readinessProbe"]


@fault("probe_services", "Deployment/search:search")
def probe_without_service(overlay: Overlay) -> None:
    del overlay.container("search")["readinessProbe"]["grpc"]["service"]


@fault("probe_services", "Deployment/search:search")
def liveness_on_milvus(overlay: Overlay) -> None:
    probes = overlay.container("search")
    probes["livenessProbe"]["grpc"]["service"] = probes["readinessProbe"]["grpc"]["service"]


@fault("probe_services", "Deployment/gateway:gateway")
def same_question_twice(overlay: Overlay) -> None:
    probes = overlay.container("gateway")
    probes["livenessProbe"]["httpGet"] = probes["readinessProbe"]["httpGet"]


# what containers use


@fault("quantities", "Deployment/search:search")
def bad_memory(overlay: Overlay) -> None:
    overlay.container("search")["resources"]["limits"]["memory"] = "1 GB"


@fault("quantities", "StatefulSet/ingest")
def bad_volume_size(overlay: Overlay) -> None:
    claim = overlay.spec("StatefulSet", "ingest")["volumeClaimTemplates"][0]
    claim["spec"]["resources"]["requests"]["storage"] = "20GB"


@fault("quantities", "Deployment/search")
def bad_size_limit(overlay: Overlay) -> None:
    overlay.pod("search")["volumes"][0]["emptyDir"]["sizeLimit"] = "64MiB"


@fault("memory_is_limited", "Deployment/search:search")
def endless_memory(overlay: Overlay) -> None:
    del overlay.container("search")["resources"]["limits"]


@fault("tmp_is_bounded", "Deployment/search")
def endless_tmp(overlay: Overlay) -> None:
    overlay.pod("search")["volumes"][0]["emptyDir"] = {}


@fault("tmp_is_bounded", "Deployment/encoder:encoder")
def no_tmp(overlay: Overlay) -> None:
    overlay.container("encoder")["volumeMounts"][0]["mountPath"] = "/scratch"


# security


@fault("restricted", "Deployment/search:search")
def may_be_root(overlay: Overlay) -> None:
    overlay.pod("search")["securityContext"]["runAsNonRoot"] = False


@fault("restricted", "Deployment/search:search")
def is_root(overlay: Overlay) -> None:
    overlay.container("search")["securityContext"]["runAsUser"] = 0


@fault("restricted", "Deployment/search:search")
def privileged(overlay: Overlay) -> None:
    overlay.container("search")["securityContext"]["privileged"] = True


@fault("restricted", "Deployment/search:search")
def escalation(overlay: Overlay) -> None:
    del overlay.container("search")["securityContext"]["allowPrivilegeEscalation"]


@fault("restricted", "Deployment/search:search")
def capabilities_kept(overlay: Overlay) -> None:
    del overlay.container("search")["securityContext"]["capabilities"]


@fault("restricted", "Deployment/search:search")
def capabilities_added(overlay: Overlay) -> None:
    overlay.container("search")["securityContext"]["capabilities"]["add"] = ["SYS_PTRACE"]


@fault("restricted", "Deployment/search:search")
def no_seccomp(overlay: Overlay) -> None:
    del overlay.pod("search")["securityContext"]["seccompProfile"]


@fault("restricted", "Deployment/search:search")
def port_of_the_node(overlay: Overlay) -> None:
    overlay.container("search")["ports"][0]["hostPort"] = 50052


@fault("restricted", "Deployment/search")
def network_of_the_node(overlay: Overlay) -> None:
    overlay.pod("search")["hostNetwork"] = True


@fault("restricted", "Deployment/search")
def kernel_settings(overlay: Overlay) -> None:
    overlay.pod("search")["securityContext"]["sysctls"] = [{"name": "a", "value": "b"}]


@fault("restricted", "Deployment/search")
def folder_of_the_node(overlay: Overlay) -> None:
    overlay.pod("search")["volumes"][0] = {"name": "tmp", "hostPath": {"path": "/var"}}


@fault("read_only_root", "Deployment/encoder:models")
def writable_root(overlay: Overlay) -> None:
    context = overlay.pod("encoder")["initContainers"][0]["securityContext"]
    del context["readOnlyRootFilesystem"]


@fault("service_accounts", "Deployment/search")
def api_token(overlay: Overlay) -> None:
    del overlay.pod("search")["automountServiceAccountToken"]


@fault("service_accounts", "Deployment/search")
def default_account(overlay: Overlay) -> None:
    del overlay.pod("search")["serviceAccountName"]


@fault("service_accounts", "Deployment/search")
def shared_account(overlay: Overlay) -> None:
    overlay.pod("search")["serviceAccountName"] = "gateway"


# configuration


@fault("hashed_config_maps", "Deployment/search:search")
def config_map_without_hash(overlay: Overlay) -> None:
    reference = overlay.container("search")["envFrom"][1]["configMapRef"]
    config_map = overlay.get("ConfigMap", reference["name"])
    config_map["metadata"]["name"] = reference["name"] = "search"


@fault("secrets_as_files", "Deployment/search:search")
def secret_in_variables(overlay: Overlay) -> None:
    overlay.add(kind="Secret", metadata={"name": "tokens"}, data={"a": "YQ=="})
    overlay.container("search")["envFrom"].append({"secretRef": {"name": "tokens"}})


@fault("secrets_as_files", "Deployment/search:search")
def secret_in_a_variable(overlay: Overlay) -> None:
    overlay.add(kind="Secret", metadata={"name": "tokens"}, data={"a": "YQ=="})
    reference = {"secretKeyRef": {"name": "tokens", "key": "a"}}
    overlay.container("search")["env"] = [{"name": "X", "valueFrom": reference}]


@fault("insecure_behind_policies", "Deployment/search:search")
def insecure_and_open(overlay: Overlay) -> None:
    for policy in [each for each in overlay.documents if each["kind"] == "NetworkPolicy"]:
        overlay.documents.remove(policy)


# coming and going


@fault("grace_period", "Deployment/search:search")
def short_grace(overlay: Overlay) -> None:
    overlay.pod("search")["terminationGracePeriodSeconds"] = 45


@fault("grace_period", "Deployment/search:search")
def no_pre_stop(overlay: Overlay) -> None:
    del overlay.container("search")["lifecycle"]


@fault("rolling_updates", "Deployment/search")
def gap_in_rollout(overlay: Overlay) -> None:
    del overlay.spec("Deployment", "search")["strategy"]


@fault("disruption_budgets", "Deployment/search")
def no_budget(overlay: Overlay) -> None:
    overlay.remove("PodDisruptionBudget", "search")


@fault("disruption_budgets", "PodDisruptionBudget/ingest")
def budget_for_nobody(overlay: Overlay) -> None:
    overlay.spec("PodDisruptionBudget", "ingest")["selector"] = {"matchLabels": {"app": "x"}}


@fault("disruption_budgets", "PodDisruptionBudget/search")
def budget_of_nothing(overlay: Overlay) -> None:
    overlay.spec("PodDisruptionBudget", "search")["maxUnavailable"] = 0


@fault("disruption_budgets", "PodDisruptionBudget/search")
def budget_for_broken_pods(overlay: Overlay) -> None:
    del overlay.spec("PodDisruptionBudget", "search")["unhealthyPodEvictionPolicy"]


@fault("pods_are_spread", "Deployment/search")
def all_on_one_node(overlay: Overlay) -> None:
    del overlay.pod("search")["topologySpreadConstraints"]


@fault("pods_are_spread", "Deployment/search")
def spread_by_others(overlay: Overlay) -> None:
    selector = overlay.pod("search")["topologySpreadConstraints"][0]["labelSelector"]
    selector["matchLabels"] = {"app.kubernetes.io/name": "encoder"}


@fault("pinned_images", "Deployment/search:search")
def image_without_tag(overlay: Overlay) -> None:
    overlay.container("search")["image"] = "registry.example:5000/lookalike/search"


@fault("pinned_images", "Deployment/search:search")
def latest_image(overlay: Overlay) -> None:
    overlay.container("search")["image"] = "lookalike/search:latest"


@fault("autoscaled_targets", "HorizontalPodAutoscaler/search")
def two_owners_of_replicas(overlay: Overlay) -> None:
    target = {"kind": "Deployment", "name": "search"}
    overlay.add(
        kind="HorizontalPodAutoscaler",
        metadata={"name": "search"},
        spec={"scaleTargetRef": target},
    )


@fault("autoscaled_targets", "ScaledObject/ingest")
def scaler_of_nothing(overlay: Overlay) -> None:
    overlay.add(
        kind="ScaledObject",
        metadata={"name": "ingest"},
        spec={"scaleTargetRef": {"name": "ingest-worker"}},
    )


# network


@fault("targets_exist", "Deployment/search:search")
def call_to_nobody(overlay: Overlay) -> None:
    overlay.settings("search")["LOOKALIKE_SEARCH__ENCODER__ADDRESS"] = "dns:///encodre:50051"


@fault("targets_exist", "Deployment/search:search")
def call_to_closed_port(overlay: Overlay) -> None:
    overlay.settings("search")["LOOKALIKE_SEARCH__ENCODER__ADDRESS"] = "dns:///encoder:50052"


@fault("policy_edges", "Deployment/search")
def no_way_out(overlay: Overlay) -> None:
    overlay.spec("NetworkPolicy", "search")["egress"].pop(0)


@fault("policy_edges", "Deployment/encoder")
def no_way_in(overlay: Overlay) -> None:
    overlay.spec("NetworkPolicy", "encoder")["ingress"][0]["from"].pop(0)


@fault("policy_edges", "StatefulSet/milvus")
def way_in_to_another_port(overlay: Overlay) -> None:
    overlay.spec("NetworkPolicy", "milvus")["ingress"][0]["ports"] = [{"port": 19531}]


@fault("policy_edges", "StatefulSet/milvus")
def default_deny_alone(overlay: Overlay) -> None:
    overlay.remove("NetworkPolicy", "milvus")


@fault("policy_dns", "Deployment/search")
def no_dns(overlay: Overlay) -> None:
    overlay.remove("NetworkPolicy", "dns")


@pytest.mark.parametrize(
    ("rule", "where", "fault"), [pytest.param(*case, id=case[2].__name__) for case in CASES]
)
def test_a_rule_finds_its_fault(local: Manifests, rule: str, where: str, fault: Fault) -> None:
    overlay = Overlay(local)
    fault(overlay)
    findings = lint(Manifests(overlay.documents))
    assert (rule, where) in {(each.rule, each.where) for each in findings}, findings


def test_every_rule_has_a_fault_that_it_finds() -> None:
    assert {rule for rule, _, _ in CASES} == {rule.__name__ for rule in RULES}
