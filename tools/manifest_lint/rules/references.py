"""What one object says about another must exist."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manifest_lint.manifests import Container, JsonObject, Manifests

_FROM_KEY = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_FROM_ALL = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
_VOLUMES = {"configMap": ("ConfigMap", "name"), "secret": ("Secret", "secretName")}


def referenced_objects(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Config maps, secrets, their keys, service accounts and claims exist."""
    for workload in manifests.workloads:
        account = workload.pod.get("serviceAccountName")
        if account and manifests.find("ServiceAccount", account) is None:
            yield workload.where, f"there is no ServiceAccount {account}"
        for volume in workload.pod.get("volumes", []):
            for message in _missing_volume_source(manifests, volume):
                yield workload.where, message
        service = workload.spec.get("serviceName")
        if service and manifests.find("Service", service) is None:
            yield workload.where, f"there is no Service {service}"
    for container in manifests.containers:
        for message in _missing_variables(manifests, container):
            yield container.where, message


def _missing_volume_source(manifests: Manifests, volume: JsonObject) -> Iterator[str]:
    for source, (kind, key) in _VOLUMES.items():
        reference = volume.get(source)
        if reference is None or reference.get("optional"):
            continue
        data = manifests.data(kind, reference[key])
        if data is None:
            yield f"volume {volume['name']} needs the missing {kind} {reference[key]}"
            continue
        for item in reference.get("items", []):
            if item["key"] not in data:
                yield f"{kind} {reference[key]} has no key {item['key']}"
    claim = volume.get("persistentVolumeClaim")
    if claim and manifests.find("PersistentVolumeClaim", claim["claimName"]) is None:
        yield f"there is no PersistentVolumeClaim {claim['claimName']}"


def _missing_variables(manifests: Manifests, container: Container) -> Iterator[str]:
    for source in container.spec.get("envFrom", []):
        for field, kind in _FROM_ALL.items():
            if field in source and manifests.data(kind, source[field]["name"]) is None:
                yield f"envFrom needs the missing {kind} {source[field]['name']}"
    for variable in container.spec.get("env", []):
        for field, kind in _FROM_KEY.items():
            reference = variable.get("valueFrom", {}).get(field)
            if reference and reference["key"] not in (
                manifests.data(kind, reference["name"]) or {}
            ):
                yield (
                    f"{variable['name']} needs the missing {kind} "
                    f"{reference['name']}, key {reference['key']}"
                )


def volume_mounts(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Every mount names a volume, and every volume is mounted."""
    for container in manifests.containers:
        for mount in container.spec.get("volumeMounts", []):
            if mount["name"] not in container.workload.volumes:
                yield container.where, f"mounts the unknown volume {mount['name']}"
    for workload in manifests.workloads:
        mounted = {
            mount["name"]
            for container in workload.containers
            for mount in container.spec.get("volumeMounts", [])
        }
        for name in workload.volumes.keys() - mounted:
            yield workload.where, f"nobody mounts the volume {name}"
