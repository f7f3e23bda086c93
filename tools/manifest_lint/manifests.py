"""Rendered manifests as the rules see them: objects by kind, workloads with their pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

JsonObject = Mapping[str, Any]  # parsed YAML: what is inside depends on the kind
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True)
class Container:
    """A container of a pod template."""

    spec: JsonObject
    workload: Workload
    is_init: bool

    @property
    def where(self) -> str:
        """`Kind/name:container`."""
        return f"{self.workload.where}:{self.spec['name']}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Container ports by name; nameless ones by their number."""
        return {
            port.get("name", str(port["containerPort"])): port["containerPort"]
            for port in self.spec.get("ports", [])
        }

    def port_number(self, port: int | str) -> int | None:
        """Resolve a port given by name or number; None if this container does not open it."""
        if isinstance(port, int):
            return port if port in self.ports.values() else None
        return self.ports.get(port)

    @property
    def probes(self) -> Iterator[tuple[str, JsonObject]]:
        """The probes it has, by name."""
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if name in self.spec:
                yield name, self.spec[name]

    @property
    def security(self) -> JsonObject:
        """Its own security context over that of the pod."""
        return {**self.workload.pod.get("securityContext", {}), **self.own_security}

    @property
    def own_security(self) -> JsonObject:
        """The security context of the container alone."""
        context: JsonObject = self.spec.get("securityContext", {})
        return context


@dataclass(frozen=True)
class Workload:
    """An object that makes pods."""

    document: JsonObject

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    @property
    def where(self) -> str:
        """`Kind/name`."""
        return where(self.document)

    @property
    def spec(self) -> JsonObject:
        """Its specification."""
        spec: JsonObject = self.document["spec"]
        return spec

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        labels: Mapping[str, str] = self.spec["template"].get("metadata", {}).get("labels", {})
        return labels

    @property
    def pod(self) -> JsonObject:
        """The specification of its pods."""
        pod: JsonObject = self.spec["template"]["spec"]
        return pod

    @property
    def containers(self) -> Sequence[Container]:
        """All containers, those of the start first."""
        return [
            Container(spec, self, is_init)
            for key, is_init in (("initContainers", True), ("containers", False))
            for spec in self.pod.get(key, [])
        ]

    @property
    def volumes(self) -> Mapping[str, JsonObject]:
        """Volumes by name, with those that are claimed for each pod."""
        named = {volume["name"]: volume for volume in self.pod.get("volumes", [])}
        claims = self.spec.get("volumeClaimTemplates", [])
        return named | {
            claim["metadata"]["name"]: {"persistentVolumeClaim": claim["spec"]} for claim in claims
        }


@dataclass(frozen=True)
class Manifests:
    """One rendered overlay."""

    documents: Sequence[JsonObject]

    @classmethod
    def parse(cls, text: str) -> Manifests:
        """Read a stream of YAML documents."""
        return cls([document for document in yaml.safe_load_all(text) if document])

    def of_kind(self, kind: str) -> list[JsonObject]:
        """All objects of one kind."""
        return [document for document in self.documents if document["kind"] == kind]

    def find(self, kind: str, name: str) -> JsonObject | None:
        """The object of that kind and name."""
        return next((d for d in self.of_kind(kind) if d["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> list[Workload]:
        """Everything that makes pods."""
        return [Workload(d) for d in self.documents if d["kind"] in WORKLOAD_KINDS]

    @cached_property
    def containers(self) -> list[Container]:
        """The containers of all workloads."""
        return [container for workload in self.workloads for container in workload.containers]

    def selected_by(self, service: JsonObject) -> list[Workload]:
        """The workloads whose pods a Service sends calls to."""
        selector = service["spec"].get("selector")
        if not selector:
            return []
        return [workload for workload in self.workloads if contains(workload.labels, selector)]

    def data(self, kind: str, name: str) -> Mapping[str, str] | None:
        """The content of a ConfigMap or Secret; a Secret's values are not decoded."""
        found = self.find(kind, name)
        if found is None:
            return None
        return {**(found.get("data") or {}), **(found.get("stringData") or {})}

    def environment(self, container: Container) -> Mapping[str, str]:
        """The variables a container gets from literals and ConfigMaps."""
        variables: dict[str, str] = {}
        for source in container.spec.get("envFrom", []):
            if "configMapRef" in source:
                variables |= self.data("ConfigMap", source["configMapRef"]["name"]) or {}
        for variable in container.spec.get("env", []):
            if "value" in variable:
                variables[variable["name"]] = variable["value"]
        return variables


def where(document: JsonObject) -> str:
    """`Kind/name` of an object."""
    return f"{document['kind']}/{document['metadata']['name']}"


def contains(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether `labels` has everything that is wanted."""
    return all(labels.get(key) == value for key, value in wanted.items())


def matches(labels: Mapping[str, str], selector: JsonObject) -> bool:
    """Evaluate a label selector; an empty one matches everything."""
    return contains(labels, selector.get("matchLabels", {})) and all(
        _satisfies(labels, expression) for expression in selector.get("matchExpressions", [])
    )


def _satisfies(labels: Mapping[str, str], expression: JsonObject) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case operator:
            raise ValueError(f"unknown operator {operator!r} in a label selector")
