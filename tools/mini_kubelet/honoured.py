"""The fields of a pod template that the mini kubelet honours; anything else is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

ANYTHING = object()
_PROBE = {
    "grpc": {"port": ANYTHING, "service": ANYTHING},
    "httpGet": {"port": ANYTHING, "path": ANYTHING},
    "tcpSocket": {"port": ANYTHING},
    **dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold"), ANYTHING),
}
_CONTAINER = {
    **dict.fromkeys(("name", "image", "args"), ANYTHING),
    "envFrom": {"configMapRef": {"name": ANYTHING}},
    "ports": {"name": ANYTHING, "containerPort": ANYTHING},
    **dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), _PROBE),
    "lifecycle": {"preStop": {"sleep": {"seconds": ANYTHING}}},
    # Requests are for the scheduler; with one machine there is nothing to choose.
    "resources": {"requests": ANYTHING, "limits": {"memory": ANYTHING}},
    "securityContext": {
        "allowPrivilegeEscalation": (False,),
        "readOnlyRootFilesystem": (True,),
        "capabilities": {"drop": ANYTHING},
    },
    "volumeMounts": {"name": ANYTHING, "mountPath": ANYTHING, "readOnly": ANYTHING},
}
POD = {
    "serviceAccountName": ANYTHING,  # nothing of an API server is mounted, whatever the account
    "automountServiceAccountToken": (False,),
    "enableServiceLinks": (False,),
    "terminationGracePeriodSeconds": ANYTHING,
    "topologySpreadConstraints": ANYTHING,  # all pods are on the one node
    "securityContext": {
        "runAsNonRoot": (True,),
        **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"), ANYTHING),
        "seccompProfile": {"type": ("RuntimeDefault",)},
    },
    "initContainers": _CONTAINER,
    "containers": _CONTAINER,
    "volumes": {"name": ANYTHING, "emptyDir": {"sizeLimit": ANYTHING}},
}
"""By field: a shape, ANYTHING, or the tuple of values that are honoured."""


def unhonoured(value: object, shape: object, path: str) -> Iterator[str]:
    """Yield the path of every field, and every value, that would be ignored."""
    if shape is ANYTHING:
        return
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from unhonoured(each, shape, f"{path}[{index}]")
    elif isinstance(shape, Mapping) and isinstance(value, Mapping):
        for key, each in value.items():
            yield from unhonoured(each, shape.get(key, ()), f"{path}.{key}")
    elif not isinstance(shape, tuple) or value not in shape:
        yield f"{path}={value}"
